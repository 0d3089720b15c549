"""The servers that everything stands on, as the monitor reaches them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from lineshaft_contracts.monitoring import ComponentHealth, HealthStatus

from lineshaft_monitor.alert_keeper import Observation
from lineshaft_monitor.samples.series import labels_of

DEADLINE_SECONDS = 2.0
PERIOD = timedelta(seconds=5)
"""Between two checks of a server that works; one that does not is tried at every call."""
BLIND = "lineshaft_monitor_blind"


class Component:
    """One server: checked often, by a real round trip and within a deadline."""

    def __init__(self, name: str, check: Callable[[], Awaitable[object]], now: datetime) -> None:
        self.name = name
        self._check = check
        self._checked_at: datetime | None = None
        self._probe: asyncio.Task[object] | None = None
        self.health = ComponentHealth(status=HealthStatus.PASS, since=now)

    @property
    def works(self) -> bool:
        """Whether it answered the last time."""
        return self.health.status is HealthStatus.PASS

    async def examine(self, now: datetime) -> Observation:
        """Check it when it is time; say whether the monitor is blind there."""
        if not self.works or self._checked_at is None or now - self._checked_at >= PERIOD:
            self._checked_at = now
            await self._examine(now)
        return Observation(
            name=BLIND,
            labels=labels_of({"component": self.name}),
            value=float(not self.works),
            at=now,
        )

    async def _examine(self, now: datetime) -> None:
        started = time.perf_counter()
        detail = await self._ask()
        status = HealthStatus.FAIL if detail else HealthStatus.PASS
        self.health = ComponentHealth(
            status=status,
            since=self.health.since if status is self.health.status else now,
            detail=detail,
            round_trip_seconds=None if detail else time.perf_counter() - started,
        )

    async def _ask(self) -> str:
        """Return what is wrong, empty when nothing is.

        A server that hangs may hang the end of a cancelled call too, so nobody waits for that;
        and while an earlier call hangs, there is no second one.
        """
        if self._probe is None or self._probe.done():

            async def probe() -> object:
                return await self._check()

            self._probe = asyncio.create_task(probe(), name=f"probe-{self.name}")
        await asyncio.wait({self._probe}, timeout=DEADLINE_SECONDS)
        if not self._probe.done():
            self._probe.cancel()
            return f"no answer within {DEADLINE_SECONDS:g} s"
        error = None if self._probe.cancelled() else self._probe.exception()
        if self._probe.cancelled():
            return f"no answer within {DEADLINE_SECONDS:g} s"
        return "" if error is None else f"{type(error).__name__}: {error}"[:200]
