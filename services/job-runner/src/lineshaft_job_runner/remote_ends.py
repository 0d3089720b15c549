"""How a worker over AMQP says that an attempt ended, judged like the end of one run here."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, assert_never

from lineshaft_contracts.job_work import WorkEnd, WorkOutcome
from lineshaft_contracts.jobs import JobError, Progress

from lineshaft_job_runner import storable
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict
from lineshaft_job_runner.retries import retry_in

NO_REASON = JobError(code="unexpected_error", message="The worker gave no reason.")
UNASKED = JobError(
    code="unexpected_error", message="The worker cancelled the job although nobody had asked."
)
NO_TIME = JobError(code="unexpected_error", message="The worker snoozed without saying how long.")
TOO_LATE = JobError(
    code="deadline_exceeded", message="It had not ended by its deadline.", retryable=False
)


@dataclass(frozen=True, kw_only=True)
class HeldJob:
    """An attempt under a lease, as the store knows it."""

    job: ClaimedJob
    worker: str
    cancel_requested: bool
    ran_seconds: float
    """Since its start, by the database's clock."""
    too_late: bool
    """Whether its deadline has passed."""
    progress: Progress


def outcome_of(end: WorkEnd, held: HeldJob) -> Outcome:
    """Judge the end that a worker reported; what cannot be stored is a failure."""
    given = end.progress if end.progress != Progress() else held.progress
    about = _About(
        held=held,
        progress=storable.progress(given),
        # The worker's own measure, as long as it is not more than we saw.
        run_seconds=round(min(end.run_seconds, held.ran_seconds), 3),
    )
    if held.cancel_requested and end.outcome is not WorkOutcome.SUCCEEDED:
        return about.outcome(Verdict.CANCELLED)  # However it ended: nobody wants it again.
    match end.outcome:
        case WorkOutcome.SUCCEEDED:
            ended = about.succeeded(end.result or {})
        case WorkOutcome.FAILED:
            ended = about.failed(end.error or NO_REASON)
        case WorkOutcome.CANCELLED:
            ended = about.failed(UNASKED)
        case WorkOutcome.RELEASED:
            ended = about.outcome(Verdict.RELEASED)
        case WorkOutcome.SNOOZED if end.again_seconds is None:
            ended = about.failed(NO_TIME)
        case WorkOutcome.SNOOZED:
            wait = timedelta(seconds=end.again_seconds or 0)
            ended = about.outcome(Verdict.SNOOZED, retry_in=wait)
        case _:
            assert_never(end.outcome)
    return ended


def overdue(held: HeldJob, *, grace_seconds: float) -> Outcome | None:
    """End an attempt whose worker goes on beyond its time; None while it may."""
    about = _About(held=held, progress=held.progress, run_seconds=round(held.ran_seconds, 3))
    if held.too_late:
        return about.failed(TOO_LATE)
    limit = held.job.timeout_seconds
    if held.ran_seconds <= limit + grace_seconds:
        return None
    return about.failed(JobError(code="timeout", message=f"It ran longer than {limit:g} s."))


@dataclass(frozen=True, kw_only=True)
class _About:
    """What every outcome of one attempt says alike."""

    held: HeldJob
    progress: Progress
    run_seconds: float

    def succeeded(self, result: dict[str, Any]) -> Outcome:
        """Succeed, unless the result is nothing that can be kept."""
        try:
            storable.check(result)
        except storable.UnstorableError as error:
            return self.failed(error.error)
        return self.outcome(Verdict.SUCCEEDED, result=result)

    def failed(self, error: JobError) -> Outcome:
        """Fail, to be tried again or not; a job that nobody wants any more is cancelled."""
        if self.held.cancel_requested:
            return self.outcome(Verdict.CANCELLED)
        job, error = self.held.job, storable.error(error)
        wait = retry_in(error, attempt=job.attempt, attempts_max=job.attempts_max)
        return self.outcome(Verdict.FAILED, error=error, retry_in=wait)

    def outcome(
        self,
        verdict: Verdict,
        *,
        result: dict[str, Any] | None = None,
        error: JobError | None = None,
        retry_in: timedelta | None = None,
    ) -> Outcome:
        """Make the outcome."""
        return Outcome(
            job=self.held.job,
            verdict=verdict,
            result=result,
            error=error,
            retry_in=retry_in,
            run_seconds=self.run_seconds,
            progress=self.progress,
        )
