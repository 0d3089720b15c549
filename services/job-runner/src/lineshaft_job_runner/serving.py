"""This process in the registry: what it serves is announced while it runs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, Self

import structlog
from lineshaft_contracts.job_catalogue import JobTypeView

from lineshaft_job_runner.unserved import UnservedJobs

log = structlog.get_logger(__name__)

ANNOUNCE_SECONDS = 30.0
MEASURE_SECONDS = 10.0
RETRY_SECONDS = 2.0
WITHDRAW_SECONDS = 3.0


class Registry(Protocol):
    """What announcing asks of the store; see store/served_types.py."""

    async def announce(self, worker: str, views: Sequence[JobTypeView]) -> None:
        """Say that this worker serves these types."""
        ...

    async def withdraw(self, worker: str) -> None:
        """Say that this worker serves nothing any more."""
        ...

    async def forget(self) -> None:
        """Delete what was not repeated for long."""
        ...

    async def unserved(self, worker: str) -> dict[str, int]:
        """Count the queued jobs that nobody serves."""
        ...


class Serving:
    """Announces inside the block, and withdraws at its end; a killed process simply falls silent.

    A store that is away is waited for: the announcement before holds for two minutes.
    """

    def __init__(self, registry: Registry, worker: str, views: Sequence[JobTypeView]) -> None:
        self._registry = registry
        self._worker = worker
        self._views = views
        self._unserved = UnservedJobs()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._announce()
        for step, seconds in (
            (self._announce, ANNOUNCE_SECONDS),
            (self._measure, MEASURE_SECONDS),
        ):
            repeat = self._repeat(step, seconds)
            self._tasks.append(asyncio.create_task(repeat, name=step.__name__))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._unserved.show({})
        try:
            async with asyncio.timeout(WITHDRAW_SECONDS):
                await self._registry.withdraw(self._worker)
        except Exception as error:  # noqa: BLE001 - what it announced expires by itself.
            log.warning("not_withdrawn", error=repr(error)[:300])

    async def _announce(self) -> None:
        await self._registry.announce(self._worker, self._views)
        await self._registry.forget()

    async def _measure(self) -> None:
        self._unserved.show(await self._registry.unserved(self._worker))

    @staticmethod
    async def _repeat(step: Callable[[], Awaitable[None]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await step()
            except Exception as error:  # noqa: BLE001 - the next time may be better.
                log.warning("registry_not_reached", error=repr(error)[:300])
                await asyncio.sleep(RETRY_SECONDS)
