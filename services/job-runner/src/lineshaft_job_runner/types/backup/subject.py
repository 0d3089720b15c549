"""What every kind of backup can do: be examined, be dumped, and be restored and measured."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from lineshaft_contracts.backups import BackupItem

Moved = Callable[[int], None]
"""Told how many bytes of content are through."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """What is known before anything is read."""

    version: str
    """Of what is backed up."""
    made_by: str
    """Program and version that dumps it."""
    bytes_estimated: int
    items: int


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a copy holds: equal inventories are equal copies."""

    items: tuple[BackupItem, ...]
    parts: Mapping[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True, kw_only=True)
class Dumped:
    """A snapshot that was packed into a file."""

    snapshot_at: datetime
    inventory: Inventory
    content_bytes: int
    content_sha256: str
    restores_with: Mapping[str, str] = field(default_factory=dict[str, str])


class Subject(Protocol):
    """One thing that is backed up."""

    async def examine(self) -> Examined:
        """Check access, programs and versions; raises what keeps a backup from being made."""
        ...

    async def dump(self, path: Path, moved: Moved) -> Dumped:
        """Pack a consistent snapshot into a file, and measure the same snapshot."""
        ...

    async def restore(
        self, path: Path, scratch: str, restores_with: Mapping[str, str], moved: Moved
    ) -> Inventory:
        """Unpack a file into a new scratch place of this name and measure it."""
        ...

    async def remove(self, scratch: str) -> None:
        """Remove a scratch place, if it is there."""
        ...

    async def is_free(self, target: str) -> bool:
        """Whether nothing has the name that a restored copy is to get."""
        ...

    async def publish(self, scratch: str, target: str) -> None:
        """Give a restored copy its name, at once; PermanentError `target_exists`."""
        ...
