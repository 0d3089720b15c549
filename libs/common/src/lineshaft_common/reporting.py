"""Reporting this process to the monitor: alive, ready, and its numbers, at each interval."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from lineshaft_contracts.envelope import PLATFORM_TENANT, envelop
from lineshaft_contracts.telemetry import ServiceReported

from lineshaft_common import metrics
from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import Bus, PublishError

log = structlog.get_logger(__name__)


class Reporter:
    """Publishes ServiceReported: at the start, at each interval, and once more when stopping."""

    def __init__(
        self,
        bus: Bus,
        health: Health,
        *,
        service: str,
        instance: str,
        interval_seconds: float,
        region: str | None = None,
    ) -> None:
        self._bus = bus
        self._health = health
        self._service = service
        self._instance = instance
        self._interval_seconds = interval_seconds
        self._region = region

    async def report(self, *, stopping: bool = False) -> None:
        """Publish one report; a broker that is away loses it, the next one says more."""
        checks = await self._health.examine()
        report = ServiceReported(
            service=self._service,
            instance=self._instance,
            version=version(f"lineshaft-{self._service}"),
            region=self._region,
            ready=all(outcome == "pass" for outcome in checks.values()),
            checks=checks,
            interval_seconds=self._interval_seconds,
            stopping=stopping,
            samples=metrics.samples(),
        )
        envelope = envelop(
            report,
            source=f"/services/{self._service}",
            tenant=PLATFORM_TENANT,
            subject=self._instance,
        )
        try:
            await self._bus.publish(envelope, deadline_seconds=2)
        except PublishError as error:
            log.warning("report_lost", error=str(error)[:200])

    async def run(self) -> None:
        """Report on a fixed grid until cancelled."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await self.report()
            due = max(due + self._interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())


@asynccontextmanager
async def report(
    bus: Bus,
    health: Health,
    *,
    service: str,
    instance: str,
    interval_seconds: float,
    region: str | None = None,
) -> AsyncGenerator[None]:
    """Report inside the block."""
    reporter = Reporter(
        bus,
        health,
        service=service,
        instance=instance,
        interval_seconds=interval_seconds,
        region=region,
    )
    async with metrics.watch_event_loop():
        task = asyncio.create_task(reporter.run(), name="reporter")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            await reporter.report(stopping=True)
