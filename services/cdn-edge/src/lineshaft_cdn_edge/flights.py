"""Requests to the origin that are under way, and who waits for them (collapsed forwarding)."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from lineshaft_cdn_edge.broadcast import Broadcast, Reader
from lineshaft_cdn_edge.cache_key import CacheKey, Match
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.origin import OriginResponse
from lineshaft_cdn_edge.vary import VariantKey


class TooManyWaitersError(Exception):
    """More requests wait for one response than the edge allows."""


@dataclass(frozen=True, kw_only=True)
class Incoming:
    """A response that may be stored and is being read; `whole` resolves when it is complete.

    `whole` yields None when the body was too long to keep, and raises OriginError when it
    was cut off.
    """

    entry: Entry
    """Without its body."""
    body: Broadcast
    lead: Reader | None
    """The place of whoever leads the flight, taken before the first chunk; to be closed if
    it is not read."""
    length: int | None
    whole: "asyncio.Future[Entry | None]"
    has_age: bool
    """Whether the origin itself answered from a cache."""
    withheld: Fields
    """Fields that are not stored (`no-cache="set-cookie"`): they are for the leader alone."""


@dataclass(frozen=True, kw_only=True)
class Confirmed:
    """The stored response is still right."""

    entry: Entry
    withheld: Fields
    """A cookie that came with the 304: it is for the leader alone."""


@dataclass(frozen=True, kw_only=True)
class Unshared:
    """A response for the one request that caused it; whoever leads has to read or close it."""

    response: OriginResponse
    fields: Fields
    reason: str


Outcome: TypeAlias = Incoming | Confirmed | Unshared


@dataclass(kw_only=True, eq=False)
class Flight:
    """One request to the origin.

    `is_doomed` is set by a purge: whatever comes back was asked for before it, so it is given
    to those who asked before, and not stored.
    """

    key: CacheKey
    selector: VariantKey
    outcome: "asyncio.Future[Outcome]" = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    waiters: int = 0
    is_doomed: bool = False
    is_abandoned: bool = False


_Slot: TypeAlias = tuple[CacheKey, VariantKey]


class Flights:
    """The flights under way. A failed one leaves no trace: the next request starts anew."""

    def __init__(self, *, waiters_max: int) -> None:
        self._waiters_max = waiters_max
        self._active: set[Flight] = set()
        self._joinable: dict[_Slot, Flight] = {}

    def __len__(self) -> int:
        return len(self._active)

    def find(self, key: CacheKey, selector: VariantKey) -> Flight | None:
        """Return the flight that a request may join; raises TooManyWaitersError when full."""
        flight = self._joinable.get((key, selector))
        if flight is None:
            return None
        if flight.waiters >= self._waiters_max:
            raise TooManyWaitersError
        return flight

    def is_under_way(self, key: CacheKey, selector: VariantKey) -> bool:
        """Whether a flight for this exists that others could join."""
        return (key, selector) in self._joinable

    def start(self, key: CacheKey, selector: VariantKey, *, is_joinable: bool) -> Flight:
        """Begin a flight; the caller must `finish` it."""
        flight = Flight(key=key, selector=selector)
        self._active.add(flight)
        if is_joinable:
            self._joinable[key, selector] = flight
        return flight

    def close_doors(self, flight: Flight) -> None:
        """Let nobody else join."""
        if self._joinable.get((flight.key, flight.selector)) is flight:
            del self._joinable[flight.key, flight.selector]

    def finish(self, flight: Flight) -> None:
        """End a flight."""
        self.close_doors(flight)
        self._active.discard(flight)

    def doom(self, match: Match) -> None:
        """Keep what matching flights bring from being stored or shared with later requests."""
        for flight in [flight for flight in self._active if match(flight.key)]:
            flight.is_doomed = True
            self.close_doors(flight)

    async def wait(
        self, flight: Flight, *, timeout_seconds: float, on_abandon: Callable[[Flight], None]
    ) -> Outcome:
        """Wait for the outcome; raises TimeoutError, or the OriginError that ended the flight."""
        flight.waiters += 1
        try:
            async with asyncio.timeout(timeout_seconds):
                return await asyncio.shield(flight.outcome)
        except (TimeoutError, asyncio.CancelledError):
            on_abandon(flight)
            raise
        finally:
            flight.waiters -= 1
