"""What delivering needs of a database; see the package store."""

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from lineshaft_event_router.subscriptions.records import (
    Attempt,
    Failure,
    HeldHead,
    LogEvent,
    Progress,
    Stored,
)


class Lead(Protocol):
    """The right to deliver."""

    async def check(self) -> None:
        """Raise when it may be lost."""
        ...


class Subscriptions(Protocol):
    """Subscriptions, and how far each is."""

    def leading(self) -> AbstractAsyncContextManager[Lead | None]:
        """Be the one process that delivers, in the block; None when another one is."""
        ...

    async def version(self) -> int:
        """Return the number of the latest change."""
        ...

    async def load(self) -> list[Stored]:
        """Read all subscriptions."""
        ...

    async def rewind_all(self, offset: int) -> None:
        """Let everybody read from an offset."""
        ...

    async def advance(self, progress: Sequence[Progress]) -> None:
        """Keep positions; none goes back."""
        ...

    async def disable(self, stored: Stored, reason: str) -> None:
        """Stop a subscription, unless a person changed it meanwhile."""
        ...

    async def queues_left(self) -> list[str]:
        """Name the queues whose subscriptions are gone."""
        ...

    async def queue_removed(self, queue: str) -> None:
        """Forget one that is removed."""
        ...

    async def log(self, attempts: Sequence[Attempt]) -> None:
        """Add lines to the delivery log."""
        ...

    async def prune(self) -> None:
        """Forget the oldest lines of the delivery log."""
        ...


class HeldEvents(Protocol):
    """Events that wait for another attempt, or that were given up."""

    async def held(self, stored: Stored) -> list[HeldHead]:
        """List the held keys of a subscription."""
        ...

    async def hold(
        self,
        stored: Stored,
        events: Sequence[LogEvent],
        *,
        failure: Failure | None = None,
        parked: Sequence[bool] = (),
    ) -> int:
        """Put events aside; idempotent by the offset."""
        ...

    async def head(self, stored: Stored, key: str) -> LogEvent | None:
        """Read the first held event of a key."""
        ...

    async def release(self, stored: Stored, event: LogEvent) -> None:
        """Remove a held event."""
        ...

    async def postpone(self, stored: Stored, event: LogEvent, failure: Failure) -> None:
        """Note another failed attempt of a held event."""
        ...

    async def park(self, stored: Stored, key: str) -> None:
        """Give up a key: its first event and all behind it."""
        ...
