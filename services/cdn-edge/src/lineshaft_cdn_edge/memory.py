"""The store of responses in memory, bounded in bytes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from lineshaft_cdn_edge.cache_key import CacheKey, Match
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.eviction import S3Fifo
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.vary import VariantKey, variant_key

_Slot: TypeAlias = tuple[CacheKey, VariantKey]

_MARKS_MAX = 65_536


@dataclass(kw_only=True)
class _Resource:
    """The stored variants of one URL, oldest first, and the sets of names they vary on."""

    variants: dict[VariantKey, Entry] = field(default_factory=dict[VariantKey, Entry])

    def name_sets(self) -> set[frozenset[str]]:
        return {frozenset(name for name, _ in variant) for variant in self.variants}

    def select(self, request: Fields) -> Entry | None:
        """Return the newest variant that matches the request."""
        if len(self.variants) == 1 and () in self.variants:
            return self.variants[()]
        matching = [
            entry
            for names in self.name_sets()
            if (entry := self.variants.get(variant_key(names, request)))
        ]
        return max(matching, key=lambda entry: entry.arrived_at, default=None)


class MemoryStore:
    """Responses by key and variant; the least useful go when the bytes run out.

    A URL may have no more than `variants_max` variants, the oldest of which goes first, so that
    a field with endless values cannot fill the store. Also remembers for a while, with a bound
    of its own, which keys had a response that could not be stored.
    """

    def __init__(self, *, bytes_max: int, object_bytes_max: int, variants_max: int = 32) -> None:
        self.bytes_max = bytes_max
        self.object_bytes_max = object_bytes_max
        self.evictions = 0
        self._variants_max = variants_max
        self._resources: dict[CacheKey, _Resource] = {}
        self._queue: S3Fifo[_Slot] = S3Fifo(bytes_max)
        self._uncacheable_until: dict[CacheKey, float] = {}

    @property
    def used_bytes(self) -> int:
        """Bytes charged to all stored responses."""
        return self._queue.weight

    def __len__(self) -> int:
        return len(self._queue)

    def find(self, key: CacheKey, request: Fields) -> Entry | None:
        """Return the stored response that matches a request, fresh or not, and note its use."""
        resource = self._resources.get(key)
        entry = resource.select(request) if resource else None
        if entry:
            self._queue.hit((key, entry.variant))
        return entry

    def has(self, key: CacheKey) -> bool:
        """Whether any variant of a URL is stored."""
        return key in self._resources

    def name_sets(self, key: CacheKey) -> set[frozenset[str]]:
        """Which request fields the stored variants of a URL were chosen by."""
        resource = self._resources.get(key)
        return resource.name_sets() if resource else set()

    def put(self, entry: Entry) -> bool:
        """Store a response in place of the variant it renews; False when it is too big."""
        slot = (entry.key, entry.variant)
        self._uncacheable_until.pop(entry.key, None)
        if len(entry.body) > self.object_bytes_max or not self._queue.admits(
            slot, entry.weight_bytes
        ):
            self._drop(slot)
            return False
        resource = self._resources.setdefault(entry.key, _Resource())
        resource.variants.pop(entry.variant, None)
        resource.variants[entry.variant] = entry
        self._queue.add(slot, entry.weight_bytes)
        if len(resource.variants) > self._variants_max:
            self._drop((entry.key, next(iter(resource.variants))))
            self.evictions += 1
        for victim in self._queue.evict():
            self.evictions += 1
            self._drop(victim)
        return slot in self._queue

    def replace(self, old: Entry, new: Entry) -> bool:
        """Put a newer state in place of exactly this one; False when it is there no more."""
        resource = self._resources.get(old.key)
        if resource is None or resource.variants.get(old.variant) is not old:
            return False
        return self.put(new)

    def attach(self, entry: Entry, forms: Mapping[str, bytes]) -> None:
        """Add compressed forms to whatever is stored with this very body, validated or not."""
        resource = self._resources.get(entry.key)
        current = resource.variants.get(entry.variant) if resource else None
        if current is not None and current.body is entry.body:
            self.put(current.with_forms(forms))

    def drop(self, entry: Entry) -> None:
        """Remove one stored response if it is still this one."""
        resource = self._resources.get(entry.key)
        if resource and resource.variants.get(entry.variant) is entry:
            self._drop((entry.key, entry.variant))

    def remove(self, key: CacheKey) -> int:
        """Remove all variants of a URL and count them."""
        self._uncacheable_until.pop(key, None)
        resource = self._resources.get(key)
        variants = list(resource.variants) if resource else []
        for variant in variants:
            self._drop((key, variant))
        return len(variants)

    def expire(self, key: CacheKey, now: float) -> int:
        """Mark all variants of a URL stale and count them."""
        self._uncacheable_until.pop(key, None)
        resource = self._resources.get(key)
        if resource is None:
            return 0
        for variant, entry in resource.variants.items():
            resource.variants[variant] = entry.expired(now)
        return len(resource.variants)

    def keys(self, match: Match) -> list[CacheKey]:
        """List the stored URLs that match."""
        return [key for key in self._resources if match(key)]

    def mark_uncacheable(self, key: CacheKey, *, until: float) -> None:
        """Remember that a URL's response could not be stored."""
        self._uncacheable_until.pop(key, None)
        self._uncacheable_until[key] = until
        if len(self._uncacheable_until) > _MARKS_MAX:
            self._uncacheable_until.pop(next(iter(self._uncacheable_until)))

    def is_uncacheable(self, key: CacheKey, now: float) -> bool:
        """Whether it is pointless for a request to wait for another's response to this URL."""
        until = self._uncacheable_until.get(key)
        if until is None:
            return False
        if until > now:
            return True
        del self._uncacheable_until[key]
        return False

    def forget_marks(self, match: Match) -> None:
        """Drop the uncacheable marks of matching URLs."""
        for key in [key for key in self._uncacheable_until if match(key)]:
            del self._uncacheable_until[key]

    def _drop(self, slot: _Slot) -> None:
        key, variant = slot
        self._queue.remove(slot)
        resource = self._resources.get(key)
        if resource:
            resource.variants.pop(variant, None)
            if not resource.variants:
                del self._resources[key]
