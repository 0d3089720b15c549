"""A stored response and everything needed to decide on its reuse without parsing it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from lineshaft_cdn_edge.cache_key import CacheKey
from lineshaft_cdn_edge.fields import Fields, size_bytes
from lineshaft_cdn_edge.freshness import Basis, Lifetime
from lineshaft_cdn_edge.vary import VariantKey

_OVERHEAD_BYTES = 1_024
"""Of the Python objects that hold a response, measured roughly."""
_WORTH = 0.95
"""A compressed form that saves less than 5 % is not kept."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StaleRules:
    """What a response allows after its lifetime; times in seconds past it."""

    forbidden: bool = False
    """must-revalidate, proxy-revalidate or no-cache: never without validation."""
    while_revalidating: float = 0.0
    if_error: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One stored variant of one resource. Never changed: a newer state is a new entry.

    `arrived_at` is on the monotonic clock, so that a step of the wall clock ages nothing.
    """

    key: CacheKey
    variant: VariantKey
    status: int
    reason: str
    fields: Fields
    body: bytes
    encodings: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """Compressed forms of the body by content coding."""
    arrived_at: float
    initial_age: float
    lifetime: Lifetime
    validates_always: bool
    """no-cache: never used without asking the origin."""
    stale: StaleRules
    asset_class: str
    is_negotiated: bool
    """Whether it is served compressed to who accepts that, now or a little later."""
    granted_control: str = ""
    """Cache-Control for clients where the policy spoke instead of the origin; kept apart, so
    that a later validation does not take it for the origin's word."""

    @property
    def etag(self) -> str | None:
        """The origin's entity tag of the uncompressed form."""
        return self.fields.get("etag")

    @property
    def has_validator(self) -> bool:
        """Whether the origin can be asked if it is still right."""
        return "etag" in self.fields or "last-modified" in self.fields

    @property
    def collapses(self) -> bool:
        """Whether requests that came while it was fetched may share it (RFC 9111 section 4)."""
        if self.validates_always:
            return False
        return self.lifetime.basis is Basis.POLICY or self.lifetime.seconds > self.initial_age

    @property
    def weight_bytes(self) -> int:
        """Memory that it is charged for."""
        bodies = len(self.body) + sum(map(len, self.encodings.values()))
        return bodies + size_bytes(self.fields) + _OVERHEAD_BYTES

    def age(self, now: float) -> float:
        """Seconds since the origin made or last confirmed it."""
        return self.initial_age + max(0.0, now - self.arrived_at)

    def fresh_seconds(self, now: float) -> float:
        """Seconds of freshness left; negative when stale."""
        return self.lifetime.seconds - self.age(now)

    def serves_on_error(self, now: float) -> bool:
        """Whether it may stand in when the origin fails."""
        if self.stale.forbidden:
            return False
        return -self.fresh_seconds(now) <= self.stale.if_error

    def serves_while_revalidating(self, now: float) -> bool:
        """Whether it may be used at once while the origin is asked in the background."""
        if self.stale.forbidden:
            return False
        return -self.fresh_seconds(now) <= self.stale.while_revalidating

    def with_forms(self, forms: Mapping[str, bytes]) -> "Entry":
        """Make the same with these compressed forms, as far as each is worth its memory."""
        worthy = {
            coding: form for coding, form in forms.items() if len(form) < len(self.body) * _WORTH
        }
        return replace(self, encodings=MappingProxyType({**self.encodings, **worthy}))

    def expired(self, now: float) -> "Entry":
        """Make the same, stale from now on: the form that a soft purge leaves behind."""
        seconds = min(self.lifetime.seconds, self.age(now))
        return replace(self, lifetime=Lifetime(seconds=seconds, basis=self.lifetime.basis))
