"""The servers that everything stands on, as the monitor reaches them."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime

from lineshaft_contracts.monitoring import ComponentHealth, HealthStatus

from lineshaft_monitor.alert_keeper import Observation
from lineshaft_monitor.samples.series import labels_of

DEADLINE_SECONDS = 2.0
BLIND = "lineshaft_monitor_blind"


class Component:
    """One server: checked often, cheaply and within a deadline."""

    def __init__(self, name: str, check: Callable[[], Awaitable[None]], now: datetime) -> None:
        self.name = name
        self._check = check
        self.health = ComponentHealth(status=HealthStatus.PASS, since=now)

    @property
    def works(self) -> bool:
        """Whether it answered the last time."""
        return self.health.status is HealthStatus.PASS

    async def examine(self, now: datetime) -> Observation:
        """Check it; return the observation that says whether the monitor is blind there."""
        started = time.perf_counter()
        status, detail = HealthStatus.PASS, ""
        try:
            async with asyncio.timeout(DEADLINE_SECONDS):
                await self._check()
        except Exception as error:  # noqa: BLE001 - whatever it raises means that it cannot be used.
            status, detail = HealthStatus.FAIL, f"{type(error).__name__}: {error}"[:200]
        since = self.health.since if status is self.health.status else now
        self.health = ComponentHealth(
            status=status,
            since=since,
            detail=detail,
            round_trip_seconds=time.perf_counter() - started if self.works else None,
        )
        return Observation(
            name=BLIND,
            labels=labels_of({"component": self.name}),
            value=float(not self.works),
            at=now,
        )
