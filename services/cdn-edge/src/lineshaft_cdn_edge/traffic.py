"""What an edge has served: counters per asset class and result, and how long it took."""

from collections import defaultdict
from dataclasses import dataclass, field
from math import ceil, log

from lineshaft_cdn_edge.messages import Result

_ACCURACY = 0.02
_RATIO = (1 + _ACCURACY) / (1 - _ACCURACY)
_SHORTEST_SECONDS = 1e-6


class Durations:
    """Quantiles of durations within 2 %, in one small dictionary of logarithmic buckets.

    Source: Masson et al., "DDSketch" (VLDB 2019). A day fits into about 630 buckets.
    """

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self._count = 0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        bucket = ceil(log(max(seconds, _SHORTEST_SECONDS)) / log(_RATIO))
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1
        self._count += 1

    def quantile(self, share: float) -> float | None:
        """Return the duration that this share of all does not exceed; None without any."""
        if not self._count:
            return None
        rank = max(1, ceil(share * self._count))
        seen = 0
        for bucket in sorted(self._buckets):
            seen += self._buckets[bucket]
            if seen >= rank:
                return 2 * _RATIO**bucket / (1 + _RATIO)
        return None

    def clear(self) -> None:
        """Start over."""
        self._buckets.clear()
        self._count = 0


@dataclass(frozen=True, kw_only=True)
class Served:
    """One finished answer; times in seconds since the request's head was read."""

    asset_class: str
    result: Result
    client_bytes: int
    saved_bytes: int
    first_byte_seconds: float
    total_seconds: float


@dataclass(frozen=True, kw_only=True)
class ClassTraffic:
    """Counters of one asset class since the start, quantiles since the last snapshot."""

    asset_class: str
    results: dict[str, int]
    client_bytes: int
    origin_bytes: int
    saved_bytes: int
    first_byte_seconds: dict[str, float | None]
    total_seconds: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """All counters at one moment."""

    classes: tuple[ClassTraffic, ...]
    origin_requests: int
    origin_errors: dict[str, int]
    origin_is_reachable: bool


@dataclass(kw_only=True)
class _Counters:
    results: dict[Result, int] = field(default_factory=lambda: defaultdict[Result, int](int))
    client_bytes: int = 0
    origin_bytes: int = 0
    saved_bytes: int = 0
    first_byte: Durations = field(default_factory=Durations)
    total: Durations = field(default_factory=Durations)


_QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Traffic:
    """Counts what goes to clients and what comes from the origin."""

    def __init__(self) -> None:
        self._classes: dict[str, _Counters] = defaultdict(_Counters)
        self._origin_requests = 0
        self._origin_errors: dict[str, int] = defaultdict(int)
        self._origin_is_reachable = True

    def served(self, served: Served) -> None:
        """Count an answer that a client has received as far as it wanted."""
        counters = self._classes[served.asset_class]
        counters.results[served.result] += 1
        counters.client_bytes += served.client_bytes
        counters.saved_bytes += served.saved_bytes
        counters.first_byte.add(served.first_byte_seconds)
        counters.total.add(served.total_seconds)

    def asked_origin(self) -> None:
        """Count a request to the origin."""
        self._origin_requests += 1

    def origin_answered(self) -> None:
        """Note that the origin is there."""
        self._origin_is_reachable = True

    def received(self, asset_class: str, count: int) -> None:
        """Count bytes of a body from the origin."""
        self._classes[asset_class].origin_bytes += count

    def origin_failed(self, reason: str) -> None:
        """Count a request to the origin that failed."""
        self._origin_errors[reason] += 1
        if reason in {"timeout", "unreachable"}:
            self._origin_is_reachable = False

    def snapshot(self, *, begin_interval: bool = False) -> Snapshot:
        """Read all counters; `begin_interval` starts the quantiles over."""
        classes = tuple(
            ClassTraffic(
                asset_class=name,
                results={str(result): count for result, count in counters.results.items()},
                client_bytes=counters.client_bytes,
                origin_bytes=counters.origin_bytes,
                saved_bytes=counters.saved_bytes,
                first_byte_seconds=_quantiles(counters.first_byte),
                total_seconds=_quantiles(counters.total),
            )
            for name, counters in sorted(self._classes.items())
        )
        if begin_interval:
            for counters in self._classes.values():
                counters.first_byte.clear()
                counters.total.clear()
        return Snapshot(
            classes=classes,
            origin_requests=self._origin_requests,
            origin_errors=dict(self._origin_errors),
            origin_is_reachable=self._origin_is_reachable,
        )


def _quantiles(durations: Durations) -> dict[str, float | None]:
    return {name: durations.quantile(share) for name, share in _QUANTILES.items()}
