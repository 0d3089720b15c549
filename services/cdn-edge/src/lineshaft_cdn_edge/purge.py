"""Take back what is stored, and what is about to be."""

from lineshaft_cdn_edge.cache_key import (
    CacheKey,
    InvalidTargetError,
    KeyMaker,
    Match,
    prefix_match,
)
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.flights import Flights
from lineshaft_cdn_edge.memory import MemoryStore


class Purger:
    """Purges the store and dooms what is in flight.

    A response that was asked for before the purge may be older than the purge means: it still
    goes to those who waited for it, but it is not stored, and nobody new may join it. So a
    purge has taken full effect when its call returns.
    """

    def __init__(
        self, *, store: MemoryStore, flights: Flights, keys: KeyMaker, clock: Clock
    ) -> None:
        self._store = store
        self._flights = flights
        self._keys = keys
        self._clock = clock

    def url(self, url: str, *, soft: bool = False) -> int:
        """Purge one URL in all variants; returns how many. Raises InvalidTargetError."""
        return self.drop(self._key(url), soft=soft)

    def prefix(self, url: str, *, soft: bool = False) -> int:
        """Purge every URL that begins with this one's path; raises InvalidTargetError."""
        return self._matching(prefix_match(self._key(url)), soft=soft)

    def everything(self, *, soft: bool = False) -> int:
        """Purge all there is."""
        return self._matching(lambda _: True, soft=soft)

    def drop(self, key: CacheKey, *, soft: bool = False) -> int:
        """Purge one key in all variants."""
        self._flights.doom(lambda other: other == key)
        if soft:
            return self._store.expire(key, self._clock.monotonic())
        return self._store.remove(key)

    def _matching(self, match: Match, *, soft: bool) -> int:
        self._flights.doom(match)
        self._store.forget_marks(match)
        now = self._clock.monotonic()
        return sum(
            self._store.expire(key, now) if soft else self._store.remove(key)
            for key in self._store.keys(match)
        )

    def _key(self, url: str) -> CacheKey:
        if self._keys.keyed_host and url.startswith("/"):
            raise InvalidTargetError("this edge tells hosts apart: the URL must name one")
        return self._keys.key(url, "")
