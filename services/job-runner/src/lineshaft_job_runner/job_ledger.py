"""What a sync remembers beside the stock it changes: last synced values, and each difference."""

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeAlias

Write: TypeAlias = Callable[[bytes], Coroutine[Any, Any, None]]
"""Takes a block of whole lines."""


@dataclass(frozen=True, kw_only=True)
class SyncState:
    """What is known of a sync as a whole; all None before its first run."""

    compares: str | None = None
    """Of which entity, and of which quantity, its base values are."""
    cursor: datetime | None = None
    """Where a source of changes is asked to begin."""


@dataclass(frozen=True, kw_only=True)
class LedgerEntry:
    """One row that a sync remembers anew, with the difference that it applies."""

    item: str
    location: str
    revision: int
    """Of the row that the decision was based on; 0 when there was none."""
    base: Decimal | None
    stated: Decimal
    named: bool
    counted_at: datetime | None
    delta: Decimal
    """Applied in the same transaction; 0 where only the memory changes."""
    decision: str
    base_before: Decimal | None
    target_before: Decimal
    effective_at: datetime | None
    """The time of a stock count; None for now."""


class SyncLedger(Protocol):
    """The memory of one sync, inside of a transaction of the target's database.

    Two tables beside the stock: the synced values by item and location with a revision, and a row
    for each difference that was applied, unique by (sync, item, location, revision).
    """

    async def prepare(self) -> None:
        """Make the tables when they are missing."""
        ...

    async def state(self) -> SyncState:
        """Return what is known of the sync; also when the tables are missing."""
        ...

    async def base(self, write: Write) -> None:
        """Hand over CSV: item, location, base, stated, revision, named, counted_at, synced_at.

        In the form of `Copy`; nothing when the tables are missing.
        """
        ...

    async def applied(self, write: Write, *, after: datetime) -> None:
        """Hand over CSV of what all syncs applied to the entity after then.

        item, location, delta, effective_at.
        """
        ...

    async def applied_by(self, job_id: str, write: Write) -> None:
        """Hand over CSV of what an attempt of this job applied.

        item, location, base, source, target, decision, delta.
        """
        ...

    async def claim(self, job_id: str, entries: Sequence[LedgerEntry]) -> list[int]:
        """Remember entries in order of their key; returns the positions of those that were free.

        An entry whose revision is no longer the latest belongs to another run: its difference
        must not be applied. Of two runs that claim the same row the second waits for the first.
        """
        ...

    async def settle(self, job_id: str, *, before: SyncState, after: SyncState) -> bool:
        """Remember the state unless it is not `before` any more; forget old entries."""
        ...
