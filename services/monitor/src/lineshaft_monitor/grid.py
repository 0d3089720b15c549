"""Work that is repeated on a fixed grid of time."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import structlog
from lineshaft_common import lifecycle
from prometheus_client import Counter

log = structlog.get_logger(__name__)

FAILURES = Counter("lineshaft_monitor_failures_total", "Repeated work that failed", ["work"])


@asynccontextmanager
async def repeating(
    name: str, period_seconds: float, work: Callable[[datetime], Awaitable[None]]
) -> AsyncGenerator[None]:
    """Call `work` inside the block at each multiple of the period since the epoch.

    The phase is fixed: restarts and slow calls do not shift it. Work that is not done at the
    next multiple makes that one be left out. A failure is logged and counted, and ends nothing.
    """

    async def run() -> None:
        while True:
            await asyncio.sleep(period_seconds - time.time() % period_seconds)
            try:
                await work(datetime.now(UTC))
            except Exception as error:  # noqa: BLE001 - the next call finds out whether it is over.
                FAILURES.labels(name).inc()
                log.warning("repeated_work_failed", work=name, error=repr(error)[:300])

    async with lifecycle.background(run(), name=name):
        yield
