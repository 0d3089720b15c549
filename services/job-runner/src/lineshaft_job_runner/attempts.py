"""Running attempts to their end, within their times, and judging how each ended."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from lineshaft_common import tracing
from lineshaft_contracts.jobs import JobError, JobState
from opentelemetry.trace import SpanKind

from lineshaft_job_runner import meters, storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.execution import (
    AttemptError,
    Executor,
    StoppedError,
    Success,
)
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict
from lineshaft_job_runner.job_type import Isolation, SnoozeError, WaitForChildrenError
from lineshaft_job_runner.loading import Loading, Parameters
from lineshaft_job_runner.retries import DEFAULT, RetryPolicy, retry_in
from lineshaft_job_runner.running import Running

log = structlog.get_logger(__name__)

UNTRACED = nullcontext()
NOTHING_TO_WAIT_FOR = JobError(
    code="nothing_to_wait_for",
    message="It waits for children, but none that it submitted is still to end.",
    retryable=False,
)
DEADLINE_EXCEEDED = JobError(
    code="deadline_exceeded", message="It had not ended by its deadline.", retryable=False
)


class Attempts:
    """Runs attempts; `on_end` is called when the outcome of one is known."""

    def __init__(
        self,
        catalogue: Catalogue,
        executors: Mapping[Isolation, Executor],
        parameters: Parameters,
        *,
        on_end: Callable[[Running], None],
    ) -> None:
        self._catalogue = catalogue
        self._executors = executors
        self._parameters = parameters
        self._on_end = on_end

    async def run(self, running: Running) -> None:
        """Run one attempt in the current task; raises nothing, whatever the job does."""
        job = running.job
        counted = meters.of_type(job.type)
        counted.started(job.waited_seconds)
        alarm = _set_alarm(running)
        started = time.perf_counter()
        try:
            outcome = await self._end(running, started)
        except Exception as error:
            log.exception("attempt_failed_inside_the_runner", job_id=str(job.id))
            reason = JobError(code="runner_error", message=type(error).__name__)
            outcome = self._failure(running, AttemptError(reason), started, policy=DEFAULT)
        alarm.cancel()
        running.outcome = outcome
        counted.ended(outcome.state.value, time.perf_counter() - started)
        self._on_end(running)

    async def _end(self, running: Running, started: float) -> Outcome:
        try:
            success = await self._execute(running)
            if running.expired is None:
                return _outcome(
                    running,
                    Verdict.SUCCEEDED,
                    started,
                    result=success.result,
                    artifacts=success.artifacts,
                )
        except (SnoozeError, WaitForChildrenError) as pause:
            if running.stop_for in {None, Verdict.RELEASED}:
                return self._paused(running, pause, started)
        except AttemptError as error:
            return self._failure(running, error, started)
        except storable.UnstorableError as error:
            return self._failure(running, AttemptError(error.error), started)
        except (StoppedError, asyncio.CancelledError) as stop:
            return self._stopped(running, stop, started)
        return self._stopped(running, StoppedError(), started)

    async def _execute(self, running: Running) -> Success:
        job = running.job
        job_type = self._catalogue.find(job.type)
        if running.stop_for is None and job.parameters_key is not None:
            loading = Loading(self._parameters, job)
            running.execution = loading  # It can be stopped, and runs out of time, from here on.
            job = await loading.run()
        if running.stop_for is not None:
            raise StoppedError
        execution = self._executors[running.isolation].start(job, job_type, running)
        running.execution = execution
        with _span(job):
            success = await execution.run()
            storable.check(success.result, success.artifacts)
            return success

    def _paused(self, running: Running, pause: Exception, started: float) -> Outcome:
        if isinstance(pause, SnoozeError):
            if pause.reason:
                message = storable.text(pause.reason)[:200]
                running.progress = running.progress.model_copy(update={"message": message})
            wait = timedelta(seconds=pause.seconds)
            return _outcome(running, Verdict.SNOOZED, started, retry_in=wait)
        counts = running.job.children or {}
        if not running.submitted and all(JobState(state).is_final for state in counts):
            return self._failure(running, AttemptError(NOTHING_TO_WAIT_FOR), started)
        return _outcome(running, Verdict.WAITING, started)

    def _failure(
        self,
        running: Running,
        failed: AttemptError,
        started: float,
        *,
        policy: RetryPolicy | None = None,
    ) -> Outcome:
        if running.stop_for is Verdict.CANCELLED:  # However it ended: nobody wants it again.
            return _outcome(running, Verdict.CANCELLED, started)
        job, error = running.job, storable.error(running.expired or failed.error)
        log.warning(
            "attempt_failed",
            job_id=str(job.id),
            job_type=job.type,
            attempt=job.attempt,
            code=error.code,
            message=error.message,
            traceback=failed.log,
        )
        if policy is None:
            policy = RetryPolicy.of(self._catalogue.find(job.type))
        wait = retry_in(error, attempt=job.attempt, attempts_max=job.attempts_max, policy=policy)
        return _outcome(running, Verdict.FAILED, started, error=error, retry_in=wait)

    def _stopped(self, running: Running, stop: BaseException, started: float) -> Outcome:
        """Tell an attempt that was stopped from one that ended itself: only the first is free."""
        if running.expired is not None:
            return self._failure(running, AttemptError(running.expired), started)
        task = asyncio.current_task()
        ours = task is not None and task.cancelling() > 0
        if running.stop_for is not None or ours:
            return _outcome(running, running.stop_for or Verdict.RELEASED, started)
        message = f"The job stopped although nobody had asked it to ({type(stop).__name__})."
        error = JobError(code="unexpected_error", message=message)
        return self._failure(running, AttemptError(error), started)


def _set_alarm(running: Running) -> asyncio.TimerHandle:
    """End the attempt when its time is used up, or that of the whole job."""
    job, loop = running.job, asyncio.get_running_loop()
    if job.deadline_at is not None:
        left = (job.deadline_at - datetime.now(UTC)).total_seconds()
        if left <= 0:
            running.expire(DEADLINE_EXCEEDED)
        if left <= job.timeout_seconds:
            return loop.call_later(max(0.0, left), running.expire, DEADLINE_EXCEEDED)
    return loop.call_later(job.timeout_seconds, _time_out, running)


def _time_out(running: Running) -> None:
    message = f"It ran longer than {running.job.timeout_seconds:g} s."
    running.expire(JobError(code="timeout", message=message))


def _outcome(running: Running, verdict: Verdict, started: float, **more: Any) -> Outcome:
    children = verdict in {Verdict.SUCCEEDED, Verdict.WAITING}
    return Outcome(
        job=running.job,
        verdict=verdict,
        run_seconds=round(time.perf_counter() - started, 3),
        progress=running.progress,
        checkpoint=None if verdict is Verdict.SUCCEEDED else running.kept_checkpoint,
        children=tuple(running.submitted) if children else (),
        **more,
    )


def _span(job: ClaimedJob) -> AbstractContextManager[Any]:
    """Open the span of an attempt, unless nobody would see it: a span costs more than a job.

    The last digits of a W3C traceparent say whether its trace is recorded; a job that was
    submitted outside any trace starts none.
    """
    traceparent = job.traceparent
    if traceparent is None or len(traceparent) < 55 or traceparent[54] not in "13579bdf":
        return UNTRACED
    return tracing.span(
        f"run {job.type}",
        kind=SpanKind.CONSUMER,
        parent=tracing.extract(traceparent),
        attributes={
            "lineshaft.job.id": str(job.id),
            "lineshaft.job.attempt": job.attempt,
            "lineshaft.tenant": job.tenant,
            "lineshaft.job.waited_seconds": job.waited_seconds,
        },
    )
