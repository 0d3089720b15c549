"""Reporting this process to the monitor: alive, ready, and its numbers, at each interval."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib.metadata import version

import structlog
from lineshaft_contracts.envelope import PLATFORM_TENANT, envelop
from lineshaft_contracts.telemetry import ServiceReported

from lineshaft_common import lifecycle, metrics
from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import Bus, PublishError

log = structlog.get_logger(__name__)


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
    """Publish ServiceReported inside the block: at once, at each interval, and when leaving it.

    A broker that is away loses a report; the next one says more.
    """

    async def tell(*, stopping: bool = False) -> None:
        checks = await health.examine()
        report = ServiceReported(
            service=service,
            instance=instance,
            version=version(f"lineshaft-{service}"),
            region=region,
            ready=all(outcome == "pass" for outcome in checks.values()),
            checks=checks,
            interval_seconds=interval_seconds,
            stopping=stopping,
            samples=metrics.samples(),
        )
        source = f"/services/{service}"
        envelope = envelop(report, source=source, tenant=PLATFORM_TENANT, subject=instance)
        try:
            await bus.publish(envelope, deadline_seconds=2)
        except PublishError as error:
            log.warning("report_lost", error=str(error)[:200])

    async def tell_on_a_grid() -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            await tell()
            due = max(due + interval_seconds, loop.time())
            await asyncio.sleep(due - loop.time())

    async with metrics.watch_event_loop():
        try:
            async with lifecycle.background(tell_on_a_grid(), name="reporter"):
                yield
        finally:
            await tell(stopping=True)
