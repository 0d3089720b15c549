"""Limits of this process: requests per key, open streams and replays per tenant."""

import asyncio
import math
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass

from lineshaft_contracts.problems import Problem, ProblemError

BUCKETS_MAX = 20_000


@dataclass(frozen=True, kw_only=True)
class Allowance:
    """What is left for a key after the request that was counted."""

    allowed: bool
    limit: int
    """Requests that may be saved up."""
    remaining: int
    reset_seconds: int
    """Until the bucket is full again."""
    retry_after_seconds: float
    """Until the next request is allowed; 0 when one is allowed now."""

    def headers(self) -> dict[str, str]:
        """Write the RateLimit fields (draft-ietf-httpapi-ratelimit-headers)."""
        return {
            "RateLimit-Limit": str(self.limit),
            "RateLimit-Remaining": str(self.remaining),
            "RateLimit-Reset": str(self.reset_seconds),
        }


class RateLimiter:
    """One token bucket per name; a name that was idle long enough to be full is forgotten."""

    def __init__(
        self, *, per_second: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second = per_second
        self._burst = burst
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def knows(self, name: str) -> bool:
        """Whether anything was counted for this name lately."""
        return name in self._buckets

    def take(self, name: str, cost: float = 1.0) -> Allowance:
        """Count one request."""
        now = self._clock()
        tokens, then = self._buckets.get(name, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self._per_second)
        allowed = tokens >= cost
        if allowed:
            tokens -= cost
        self._buckets[name] = (tokens, now)
        self._buckets.move_to_end(name)
        if len(self._buckets) > BUCKETS_MAX:
            self._buckets.popitem(last=False)
        return Allowance(
            allowed=allowed,
            limit=self._burst,
            remaining=int(tokens),
            reset_seconds=math.ceil((self._burst - tokens) / self._per_second),
            retry_after_seconds=0.0 if allowed else (cost - tokens) / self._per_second,
        )


class StreamLimits:
    """Counts open streams; memory of the process is bounded by their number."""

    def __init__(
        self, *, total_max: int, per_tenant_max: int, problem: Problem | None = None
    ) -> None:
        self._total_max = total_max
        self._per_tenant_max = per_tenant_max
        self._problem = problem or TOO_MANY_STREAMS
        self._open: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Streams that are open now."""
        return self._open.total()

    @contextmanager
    def opened(self, tenant: str) -> Generator[None]:
        """Hold a place inside the block; raises ProblemError when there is none."""
        if self._open[tenant] >= self._per_tenant_max or self.total >= self._total_max:
            raise ProblemError(self._problem)
        self._open[tenant] += 1
        try:
            yield
        finally:
            self._open[tenant] -= 1
            if not self._open[tenant]:
                del self._open[tenant]


class ReplayTurns:
    """Who may read the log now; the rest wait, first come first served within a tenant's share.

    A share below the total keeps one tenant from holding every place.
    """

    def __init__(self, *, total_max: int, per_tenant_max: int) -> None:
        self._total_max = total_max
        self._per_tenant_max = per_tenant_max
        self._running: Counter[str] = Counter()
        self._waiting: list[tuple[str, asyncio.Future[None]]] = []

    @contextmanager
    def asked(self, tenant: str) -> Generator[asyncio.Future[None]]:
        """Yield a future that is done when it is this one's turn; gives it up after the block."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (tenant, turn)
        self._waiting.append(place)
        self._admit()
        try:
            yield turn
        finally:
            if turn.done():
                self._running[tenant] -= 1
                if not self._running[tenant]:
                    del self._running[tenant]
                self._admit()
            else:
                self._waiting.remove(place)

    def _admit(self) -> None:
        still: list[tuple[str, asyncio.Future[None]]] = []
        for tenant, turn in self._waiting:
            if (
                self._running.total() < self._total_max
                and self._running[tenant] < self._per_tenant_max
            ):
                self._running[tenant] += 1
                turn.set_result(None)
            else:
                still.append((tenant, turn))
        self._waiting = still


TOO_MANY_DOWNLOADS = Problem(
    code="too_many_downloads",
    title="Too many downloads are under way",
    detail="Finish one, or wait.",
    status=429,
    retry_after_seconds=5,
)
TOO_MANY_STREAMS = Problem(
    code="too_many_streams",
    title="Too many streams are open",
    detail="Close one, or wait.",
    status=429,
    retry_after_seconds=10,
)
