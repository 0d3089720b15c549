"""The engine: claims jobs into free places, runs them under a lease, and stores how they ended."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol, Self
from uuid import UUID

import structlog
from lineshaft_common import tracing
from lineshaft_common.metrics import BUCKETS
from lineshaft_contracts.jobs import RESULT_BYTES_MAX, JobError, Progress
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge, Histogram
from pydantic_core import to_json

from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.execution import AttemptError, Execution, Executor, StoppedError, Success
from lineshaft_job_runner.job import ClaimedJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.retries import retry_in

log = structlog.get_logger(__name__)

POLL_SECONDS = 1.0
BEAT_SECONDS = 0.5
CLAIM_MAX = 100
STORE_RETRY_SECONDS_MAX = 5.0

RUNNING = Gauge("lineshaft_jobs_running", "Attempts under way", ["type"])
ENDED = Counter("lineshaft_jobs_attempts_total", "Attempts by how they ended", ["type", "outcome"])
RUN_SECONDS = Histogram(
    "lineshaft_jobs_run_seconds", "Time of an attempt", ["type"], buckets=BUCKETS
)
WAIT_SECONDS = Histogram(
    "lineshaft_jobs_wait_seconds", "From ready to started", ["type"], buckets=BUCKETS
)
ZOMBIES = Counter("lineshaft_jobs_lease_lost_total", "Attempts ended because the lease was lost")


class Store(Protocol):
    """What the engine asks of the store; see store/jobs.py."""

    async def claim(
        self, types: Sequence[str], *, limit: int, lease_seconds: float
    ) -> list[ClaimedJob]:
        """Take ready jobs under a lease."""
        ...

    async def heartbeat(
        self, updates: Sequence[ProgressUpdate], *, lease_seconds: float
    ) -> dict[UUID, bool]:
        """Extend leases; by job still held whether to cancel it."""
        ...

    async def announce_progress(self, updates: Sequence[ProgressUpdate]) -> None:
        """Publish progress."""
        ...

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Store ends; the jobs still held."""
        ...

    async def promote(self) -> int:
        """Queue what has become due."""
        ...

    async def rescue(self) -> int:
        """Take jobs from silent workers."""
        ...


@dataclass(kw_only=True)
class _Running:
    """An attempt under way."""

    job: ClaimedJob
    isolation: Isolation
    execution: Execution
    task: asyncio.Task[None] | None = None
    progress: Progress = field(default_factory=Progress)
    moved: bool = False
    beaten_at: float = field(default_factory=time.monotonic)
    stop_for: Verdict | None = None

    def on_progress(self, progress: Progress) -> None:
        self.progress = progress
        self.moved = True

    def stop(self, verdict: Verdict) -> None:
        if self.stop_for is None:
            self.stop_for = verdict
            self.execution.stop()


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
        *,
        lease_seconds: float,
        stop_grace_seconds: float,
    ) -> None:
        self._store = store
        self._catalogue = catalogue
        self._executors = executors
        self._lease_seconds = lease_seconds
        self._stop_grace_seconds = stop_grace_seconds
        self._running: dict[UUID, _Running] = {}
        self._ended: list[Outcome] = []
        self._ready = asyncio.Event()
        self._beat = asyncio.Event()
        self._to_store = asyncio.Event()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        for loop in (self._claim, self._heartbeat, self._upkeep, self._store_ends):
            self._loops.append(asyncio.create_task(self._persist(loop), name=loop.__name__))
        return self

    async def __aexit__(self, *_: object) -> None:
        claiming = self._loops.pop(0)
        claiming.cancel()
        tasks = [r.task for r in self._running.values() if r.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=self._stop_grace_seconds)
            for running in self._running.values():
                running.stop(Verdict.RELEASED)
            _done, slow = await asyncio.wait(tasks, timeout=self._stop_grace_seconds + 1)
            for unfinished in slow:
                unfinished.cancel()
            if slow:
                await asyncio.wait(slow, timeout=5)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                while self._ended:  # noqa: ASYNC110 - bounded, at the very end of a process.
                    await asyncio.sleep(0.02)
        for task in self._loops:
            task.cancel()
        await asyncio.gather(claiming, *self._loops, return_exceptions=True)

    def wake(self) -> None:
        """Say that jobs may be ready."""
        self._ready.set()

    def look_for_cancellations(self) -> None:
        """Say that running jobs may have been cancelled."""
        self._beat.set()

    async def _persist(self, step: "_Loop") -> None:
        """Run a step again and again; a failing store is waited for, not given up."""
        delay = 0.1
        while True:
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
            taken = sum(r.isolation is isolation for r in self._running.values())
            free = min(executor.places - taken, CLAIM_MAX)
            types = self._catalogue.names(isolation)
            if free <= 0 or not types:
                continue
            jobs = await self._store.claim(types, limit=free, lease_seconds=self._lease_seconds)
            for job in jobs:
                self._start(job, isolation, executor)
            full = full or len(jobs) == free
        if not full:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ready.wait(), POLL_SECONDS)
        elif not self._ready.is_set():
            await self._ready.wait()  # The end of any attempt sets it.

    def _start(self, job: ClaimedJob, isolation: Isolation, executor: Executor) -> None:
        job_type = self._catalogue.find(job.type)
        running: _Running

        def on_progress(progress: Progress) -> None:
            running.on_progress(progress)

        execution = executor.start(job, job_type, on_progress)
        running = _Running(job=job, isolation=isolation, execution=execution)
        self._running[job.id] = running
        running.task = asyncio.create_task(self._run(running), name=f"job-{job.id}")

    async def _run(self, running: _Running) -> None:
        job = running.job
        started = time.perf_counter()
        WAIT_SECONDS.labels(job.type).observe(job.waited_seconds)
        RUNNING.labels(job.type).inc()
        try:
            with tracing.span(
                f"run {job.type}",
                kind=SpanKind.CONSUMER,
                parent=tracing.extract(job.traceparent),
                attributes={
                    "lineshaft.job.id": str(job.id),
                    "lineshaft.job.attempt": job.attempt,
                    "lineshaft.tenant": job.tenant,
                    "lineshaft.job.waited_seconds": job.waited_seconds,
                },
            ):
                outcome = await self._attempt(running, started)
        except AttemptError as error:
            outcome = self._failure(job, error)
        except (StoppedError, asyncio.CancelledError):
            outcome = Outcome(job=job, verdict=running.stop_for or Verdict.RELEASED)
        finally:
            RUNNING.labels(job.type).dec()
        RUN_SECONDS.labels(job.type).observe(time.perf_counter() - started)
        ENDED.labels(job.type, outcome.state.value).inc()
        self._ended.append(replace(outcome, progress=running.progress))
        self._to_store.set()

    async def _attempt(self, running: _Running, started: float) -> Outcome:
        job = running.job
        try:
            async with asyncio.timeout(job.timeout_seconds):
                success = await running.execution.run()
        except TimeoutError:
            raise AttemptError(
                JobError(code="timeout", message=f"It ran longer than {job.timeout_seconds:g} s.")
            ) from None
        except (AttemptError, StoppedError):
            raise
        except Exception as error:
            log.exception("attempt_failed_inside_the_runner", job_id=str(job.id))
            raise AttemptError(
                JobError(code="runner_error", message=type(error).__name__)
            ) from error
        _check_size(success)
        return Outcome(
            job=job,
            verdict=Verdict.SUCCEEDED,
            result=success.result,
            artifacts=success.artifacts,
            run_seconds=round(time.perf_counter() - started, 3),
        )

    @staticmethod
    def _failure(job: ClaimedJob, error: AttemptError) -> Outcome:
        log.warning(
            "attempt_failed",
            job_id=str(job.id),
            job_type=job.type,
            attempt=job.attempt,
            code=error.error.code,
            message=error.error.message,
            traceback=error.log,
        )
        wait = retry_in(error.error, attempt=job.attempt, attempts_max=job.attempts_max)
        return Outcome(job=job, verdict=Verdict.FAILED, error=error.error, retry_in=wait)

    async def _store_ends(self) -> None:
        """Store whatever ended while the last batch was being stored."""
        await self._to_store.wait()
        self._to_store.clear()
        while self._ended:
            batch = list(self._ended)
            await self._store.finish(batch)
            del self._ended[: len(batch)]
            for outcome in batch:
                del self._running[outcome.job.id]
            self._ready.set()

    async def _heartbeat(self) -> None:
        """Keep the leases, pass progress on, and find out what was cancelled or lost."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._beat.wait(), BEAT_SECONDS)
        looking = self._beat.is_set()
        self._beat.clear()
        now = time.monotonic()
        due = [
            r
            for r in self._running.values()
            if looking or r.moved or now - r.beaten_at > self._lease_seconds / 3
        ]
        if not due:
            return
        moved = [r for r in due if r.moved]
        updates = [ProgressUpdate(job=r.job, progress=r.progress) for r in due]
        for running in due:
            running.moved = False
        held = await self._store.heartbeat(updates, lease_seconds=self._lease_seconds)
        for running in due:
            running.beaten_at = now
            if running.job.id not in held:
                self._lost(running)
            elif held[running.job.id]:
                running.stop(Verdict.CANCELLED)
        if moved:
            await self._store.announce_progress(
                [ProgressUpdate(job=r.job, progress=r.progress) for r in moved]
            )

    def _lost(self, running: _Running) -> None:
        """End an attempt that another worker has taken over, unless it is ending already."""
        ending = any(o.job.lease_token == running.job.lease_token for o in self._ended)
        if self._running.get(running.job.id) is running and not ending:
            log.warning("lease_lost", job_id=str(running.job.id))
            ZOMBIES.inc()
            running.stop(Verdict.RELEASED)

    async def _upkeep(self) -> None:
        """Queue what is due and rescue what was lost; every worker does it, rows are locked."""
        await self._store.promote()
        await self._store.rescue()
        self._ready.set()
        await asyncio.sleep(POLL_SECONDS)


class _Loop(Protocol):
    """A step of the engine."""

    __name__: str

    async def __call__(self) -> None:
        """Do it once."""
        ...


def _check_size(success: Success) -> None:
    size = len(to_json(success.result))
    if size > RESULT_BYTES_MAX:
        raise AttemptError(
            JobError(
                code="result_too_large",
                message=f"The result has {size} bytes, at most {RESULT_BYTES_MAX} are kept: "
                "write an artifact instead.",
                retryable=False,
            )
        )
