"""The engine: claims jobs into free places, runs them under a lease, and stores how they ended."""

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Protocol, Self
from uuid import UUID

import structlog
from lineshaft_common import tracing
from lineshaft_common.metrics import BUCKETS
from lineshaft_common.transient import is_transient
from lineshaft_contracts.jobs import JobError, Progress
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Gauge, Histogram

from lineshaft_job_runner import storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.execution import AttemptError, Executor, StoppedError
from lineshaft_job_runner.job import ClaimedJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.retries import retry_in
from lineshaft_job_runner.running import Running

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
        """Extend leases, tell progress; by lease token still held whether to cancel the job."""
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
        self._running: dict[UUID, Running] = {}  # By lease token: a job may be claimed again.
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
                async with asyncio.timeout(POLL_SECONDS):
                    await self._ready.wait()
        elif not self._ready.is_set():
            await self._ready.wait()  # The end of any attempt sets it.

    def _start(self, job: ClaimedJob, isolation: Isolation, executor: Executor) -> None:
        job_type = self._catalogue.find(job.type)
        running: Running

        def on_progress(progress: Progress) -> None:
            running.on_progress(progress)

        for earlier in self._running.values():
            if earlier.job.id == job.id:
                self._lost(earlier)
        execution = executor.start(job, job_type, on_progress)
        running = Running(job=job, isolation=isolation, execution=execution)
        self._running[job.lease_token] = running
        running.task = asyncio.create_task(self._run(running), name=f"job-{job.id}")

    async def _run(self, running: Running) -> None:
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
            outcome = self._failure(running, error)
        except (StoppedError, asyncio.CancelledError) as stop:
            outcome = self._stopped(running, stop)
        except Exception as error:
            log.exception("attempt_failed_inside_the_runner", job_id=str(job.id))
            reason = JobError(code="runner_error", message=type(error).__name__)
            outcome = self._failure(running, AttemptError(reason))
        finally:
            RUNNING.labels(job.type).dec()
        RUN_SECONDS.labels(job.type).observe(time.perf_counter() - started)
        ENDED.labels(job.type, outcome.state.value).inc()
        self._ended.append(replace(outcome, progress=running.progress))
        self._to_store.set()

    async def _attempt(self, running: Running, started: float) -> Outcome:
        job = running.job
        try:
            async with asyncio.timeout(job.timeout_seconds):
                success = await running.execution.run()
        except TimeoutError:
            raise AttemptError(
                JobError(code="timeout", message=f"It ran longer than {job.timeout_seconds:g} s.")
            ) from None
        try:
            storable.check(success.result, success.artifacts)
        except storable.UnstorableError as error:
            raise AttemptError(error.error) from error
        return Outcome(
            job=job,
            verdict=Verdict.SUCCEEDED,
            result=success.result,
            artifacts=success.artifacts,
            run_seconds=round(time.perf_counter() - started, 3),
        )

    @staticmethod
    def _failure(running: Running, failed: AttemptError) -> Outcome:
        job, error = running.job, storable.error(failed.error)
        if running.stop_for is Verdict.CANCELLED:  # However it ended: nobody wants it again.
            return Outcome(job=job, verdict=Verdict.CANCELLED)
        log.warning(
            "attempt_failed",
            job_id=str(job.id),
            job_type=job.type,
            attempt=job.attempt,
            code=error.code,
            message=error.message,
            traceback=failed.log,
        )
        wait = retry_in(error, attempt=job.attempt, attempts_max=job.attempts_max)
        return Outcome(job=job, verdict=Verdict.FAILED, error=error, retry_in=wait)

    def _stopped(self, running: Running, stop: BaseException) -> Outcome:
        """Tell an attempt that was stopped from one that ended itself: only the first is free."""
        task = asyncio.current_task()
        ours = task is not None and task.cancelling() > 0
        if running.stop_for is not None or ours:
            return Outcome(job=running.job, verdict=running.stop_for or Verdict.RELEASED)
        message = f"The job stopped although nobody had asked it to ({type(stop).__name__})."
        return self._failure(
            running, AttemptError(JobError(code="unexpected_error", message=message))
        )

    async def _store_ends(self) -> None:
        """Store whatever ended while the last batch was being stored."""
        if not self._ended:  # Otherwise the last try failed, and they still wait.
            await self._to_store.wait()
        self._to_store.clear()
        while self._ended:
            batch = list(self._ended)
            try:
                await self._store.finish(batch)
            except Exception as error:
                if is_transient(error):
                    raise
                log.warning("ends_refused", count=len(batch), error=repr(error)[:300])
                for outcome in batch:
                    await self._finish_alone(outcome)
            else:
                self._stored(batch)

    async def _finish_alone(self, outcome: Outcome) -> None:
        """Store one end, or in its place that it cannot be stored."""
        try:
            await self._store.finish([outcome])
        except Exception as error:
            if is_transient(error):
                raise
            log.exception("end_refused", job_id=str(outcome.job.id))
            reason = storable.unstorable("the database refused it").error
            # When even this is refused, the store is at fault: all ends wait until it is not.
            await self._store.finish(
                [Outcome(job=outcome.job, verdict=Verdict.FAILED, error=reason)]
            )
        self._stored([outcome])

    def _stored(self, outcomes: Sequence[Outcome]) -> None:
        stored = {outcome.job.lease_token for outcome in outcomes}
        self._ended = [o for o in self._ended if o.job.lease_token not in stored]
        for token in stored:
            self._running.pop(token, None)
        self._ready.set()

    async def _heartbeat(self) -> None:
        """Keep the leases, pass progress on, and find out what was cancelled or lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(BEAT_SECONDS):
                await self._beat.wait()
        looking = self._beat.is_set()
        self._beat.clear()
        await self._keep_leases(looking=looking)

    async def _keep_leases(self, *, looking: bool = False) -> None:
        now = time.monotonic()
        due = [
            r
            for r in self._running.values()
            if not r.lost and (looking or r.moved or now - r.beaten_at > self._lease_seconds / 3)
        ]
        if not due:
            return
        updates = [ProgressUpdate(job=r.job, progress=r.progress, moved=r.moved) for r in due]
        for running in due:
            running.moved = False
        try:
            held = await self._extend(updates)
        except BaseException:
            for running, update in zip(due, updates, strict=True):
                running.moved = running.moved or update.moved
            raise
        for running in due:
            running.beaten_at = now
            cancel = held.get(running.job.lease_token)
            if cancel is None:
                self._lost(running)
            elif cancel:
                running.stop(Verdict.CANCELLED)

    async def _extend(self, updates: Sequence[ProgressUpdate]) -> dict[UUID, bool]:
        """Extend leases together; when something is refused, singly, and that without progress."""
        try:
            return await self._store.heartbeat(updates, lease_seconds=self._lease_seconds)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("progress_refused", count=len(updates), error=repr(error)[:300])
            if len(updates) == 1:
                bare = replace(updates[0], progress=Progress(), moved=False)
                return await self._store.heartbeat([bare], lease_seconds=self._lease_seconds)
        held: dict[UUID, bool] = {}
        for update in updates:
            held |= await self._extend([update])
        return held

    def _lost(self, running: Running) -> None:
        """End an attempt whose job was taken over, unless it is ending already."""
        token = running.job.lease_token
        ending = any(o.job.lease_token == token for o in self._ended)
        if self._running.get(token) is running and not ending and not running.lost:
            log.warning("lease_lost", job_id=str(running.job.id))
            ZOMBIES.inc()
            running.lost = True
            running.stop(Verdict.RELEASED)

    async def _upkeep(self) -> None:
        """Queue what is due and rescue what was lost; every worker does it, rows are locked.

        A worker that was frozen or cut off keeps its own leases first, so that it never takes its
        own running jobs for lost ones; while it cannot, it rescues nothing.
        """
        await self._store.promote()
        await self._keep_leases()
        await self._store.rescue()
        self._ready.set()
        await asyncio.sleep(POLL_SECONDS)


class _Loop(Protocol):
    """A step of the engine."""

    __name__: str

    async def __call__(self) -> None:
        """Do it once."""
        ...
