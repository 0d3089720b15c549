"""The engine: claims jobs into free places, runs them under a lease, and stores how they ended."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, Self
from uuid import UUID

import structlog

from lineshaft_job_runner.attempts import Attempts
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.ends import Ends, EndStore
from lineshaft_job_runner.execution import Executor
from lineshaft_job_runner.heartbeats import Heartbeats, OpenLeaseStore
from lineshaft_job_runner.job import ClaimedJob, Verdict
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.loading import Parameters
from lineshaft_job_runner.meters import LEASES_LOST
from lineshaft_job_runner.running import Running

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
CLAIM_MAX = 500
STORE_RETRY_SECONDS_MAX = 5.0
LAST_CALLS_SECONDS_MAX = 5.0
"""What the store gets for the claim and the ends that are under way when the process stops."""


class Store(EndStore, Protocol):
    """What the engine asks of the store; see store/jobs.py."""

    async def claim(
        self, types: Sequence[str], *, limit: int, lease_seconds: float
    ) -> list[ClaimedJob]:
        """Take ready jobs under a lease."""
        ...

    async def promote(self) -> int:
        """Queue what has become due."""
        ...

    async def expire(self) -> int:
        """End what waits although its deadline has passed."""
        ...

    async def catch_up(self) -> int:
        """Cancel what came after its cancellation."""
        ...

    async def rescue(self) -> int:
        """Take jobs from silent workers."""
        ...


class Runner:
    """Runs jobs until the block is left; then lets them finish for a while and releases the rest.

    Nothing is lost when the process dies at any point: a job stays `running` in the store until
    its lease expires, and is then taken by another worker. Nothing counts twice: an end is stored
    only under the lease token of the attempt.
    """

    def __init__(
        self,
        store: Store,
        catalogue: Catalogue,
        executors: Mapping[Isolation, Executor],
        parameters: Parameters,
        *,
        open_leases: OpenLeaseStore,
        lease_seconds: float,
        stop_grace_seconds: float,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._executors = executors
        self._lease_seconds = lease_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._running: dict[UUID, Running] = {}  # By lease token: a job may be claimed again.
        self._latest: dict[UUID, Running] = {}  # By job.
        self._taken: Counter[Isolation] = Counter()
        self._ready = asyncio.Event()
        self._stopping = False
        self._ends = Ends(store, on_stored=self._on_stored)
        self._attempts = Attempts(catalogue, executors, parameters, on_end=self._on_end)
        self._beats = Heartbeats(
            self._running, open_leases, lease_seconds=lease_seconds, on_lost=self._on_lost
        )
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await self._beats.__aenter__()
        for loop in (self._claim, self._upkeep, self._ends.store):
            self._loops.append(asyncio.create_task(self._persist(loop), name=loop.__name__))
        return self

    async def __aexit__(self, *error: object) -> None:
        self._stopping = True
        self._ready.set()
        claiming = self._loops.pop(0)
        # A claim that is interrupted may have been stored: its jobs would be lost for a lease.
        await asyncio.wait([claiming], timeout=LAST_CALLS_SECONDS_MAX)
        await self._end_attempts()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_CALLS_SECONDS_MAX):
                while self._ends:  # noqa: ASYNC110 - bounded, at the very end of a process.
                    await asyncio.sleep(0.02)
        for task in (claiming, *self._loops):
            task.cancel()
        await asyncio.gather(claiming, *self._loops, return_exceptions=True)
        await self._beats.__aexit__(*error)

    async def _end_attempts(self) -> None:
        """Let attempts end by themselves, then ask them to, then end them."""
        tasks = [r.task for r in self._running.values() if r.task is not None]
        if not tasks:
            return
        await asyncio.wait(tasks, timeout=self._stop_grace_seconds)
        for running in self._running.values():
            running.stop(Verdict.RELEASED)
        _done, slow = await asyncio.wait(tasks, timeout=self._stop_grace_seconds + 1)
        for unfinished in slow:
            unfinished.cancel()
        if slow:
            await asyncio.wait(slow, timeout=LAST_CALLS_SECONDS_MAX)

    def wake(self) -> None:
        """Say that jobs may be ready."""
        self._ready.set()

    def look_for_cancellations(self) -> None:
        """Say that running jobs may have been cancelled."""
        self._beats.look_for_cancellations()

    async def _persist(self, step: "_Loop") -> None:
        """Run a step again and again; a failing store is waited for, not given up."""
        delay = 0.1
        while not (self._stopping and step == self._claim):
            try:
                await step()
                delay = 0.1
            except Exception:
                log.exception("engine_step_failed", step=step.__name__)
                await asyncio.sleep(delay)
                delay = min(delay * 2, STORE_RETRY_SECONDS_MAX)

    async def _claim(self) -> None:
        """Fill the free places; then wait for a hint, or for the poll behind the hints."""
        self._ready.clear()
        full = False
        for isolation, executor in self._executors.items():
            free = min(executor.places - self._taken[isolation], CLAIM_MAX)
            types = self._catalogue.names(isolation)
            if free <= 0 or not types:
                continue
            asked_at = time.monotonic()
            jobs = await self._store.claim(types, limit=free, lease_seconds=self._lease_seconds)
            for job in jobs:
                self._start(job, isolation, asked_at)
            full = full or len(jobs) == free
        if self._stopping:
            return
        if not full:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._ready.wait()
        elif not self._ready.is_set():
            await self._ready.wait()  # The end of any attempt sets it.

    def _start(self, job: ClaimedJob, isolation: Isolation, claimed_at: float) -> None:
        earlier = self._latest.get(job.id)
        if earlier is not None:  # A job of our own, lost while we were frozen or cut off.
            self._on_lost(earlier)
        running = Running(job=job, isolation=isolation, beaten_at=claimed_at)
        self._running[job.lease_token] = self._latest[job.id] = running
        self._taken[isolation] += 1
        running.task = asyncio.create_task(self._attempts.run(running))

    def _on_end(self, running: Running) -> None:
        if running.outcome is not None:
            self._ends.add(running.outcome)

    def _on_stored(self, tokens: Iterable[UUID]) -> None:
        for token in tokens:
            running = self._running.pop(token, None)
            if running is None:
                continue
            self._taken[running.isolation] -= 1
            if self._latest.get(running.job.id) is running:
                del self._latest[running.job.id]
        self._ready.set()

    def _on_lost(self, running: Running) -> None:
        """End an attempt whose job was taken over, unless it is ending already."""
        current = self._running.get(running.job.lease_token) is running
        if current and running.outcome is None and not running.lost:
            log.warning("lease_lost", job_id=str(running.job.id))
            LEASES_LOST.inc()
            running.lost = True
            running.stop(Verdict.RELEASED)

    async def _upkeep(self) -> None:
        """Queue what is due and rescue what was lost; every worker does it, rows are locked.

        A worker that was frozen or cut off keeps its own leases first, so that it never takes its
        own running jobs for lost ones; while it cannot, it rescues nothing.
        """
        await self._store.promote()
        await self._store.expire()
        await self._store.catch_up()
        if self._beats.up_to_date:
            await self._store.rescue()
        self._ready.set()
        await asyncio.sleep(POLL_SECONDS)


class _Loop(Protocol):
    """A step of the engine."""

    __name__: str

    async def __call__(self) -> None:
        """Do it once."""
        ...
