"""Workers over AMQP: they fetch jobs, keep the leases and report the ends."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol
from uuid import UUID

import structlog
from lineshaft_common.transient import is_transient
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_work import (
    Beat,
    BeatWork,
    EndWork,
    FetchWork,
    WorkEnd,
    WorkEnded,
    WorkFetched,
    WorkHeld,
    WorkItem,
)
from lineshaft_contracts.jobs import JobError
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from pydantic_core import to_json

from lineshaft_job_runner import storable
from lineshaft_job_runner.execution import AttemptError
from lineshaft_job_runner.job import ClaimedJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.loading import Parameters, with_parameters
from lineshaft_job_runner.meters import ENDED, RUN_SECONDS, WAIT_SECONDS
from lineshaft_job_runner.offers import Offers
from lineshaft_job_runner.remote_ends import HeldJob, outcome_of, overdue
from lineshaft_job_runner.retries import retry_in

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS_MIN = 0.1
ANSWER_BYTES_MAX = 8 << 20
"""Of the jobs of one answer, which is one message: brokers take 16 MiB."""


class Held(Protocol):
    """Finds attempts; see store/held_jobs.py."""

    async def find(self, tokens: Mapping[UUID, UUID]) -> dict[UUID, HeldJob]:
        """Return the attempts by lease token; `tokens` gives the job of each."""
        ...


class Store(Protocol):
    """The life of jobs in the hands of one worker; see store/jobs.py."""

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
        """Store ends; the lease tokens of those that are stored."""
        ...


class RemoteWork:
    """Answers workers of any language with the claims, leases and fences of every worker.

    Beats are idempotent; ends are by their lease token. A job that was fetched by an
    answer which got lost is rescued like that of a worker that died.
    """

    def __init__(
        self,
        offers: Offers,
        held: Held,
        open_store: Callable[[str], Store],
        parameters: Parameters,
        *,
        lease_seconds: float,
    ) -> None:
        self._offers = offers
        self._held = held
        self._open_store = open_store
        self._parameters = parameters
        self._lease_seconds = lease_seconds

    async def fetch(self, envelope: Envelope[FetchWork]) -> WorkFetched:
        """Answer FetchWork."""
        ask = envelope.data
        await self._offers.require(ask.worker, ask.job_types)
        store = self._open_store(ask.worker)
        jobs = await store.claim(
            sorted(set(ask.job_types)), limit=ask.jobs_max, lease_seconds=self._lease_seconds
        )
        jobs = await self._complete(store, jobs)
        for job in jobs:
            WAIT_SECONDS.labels(job.type).observe(job.waited_seconds)
        now = datetime.now(UTC)
        return WorkFetched(
            jobs=tuple(_item(job, now) for job in jobs), lease_seconds=self._lease_seconds
        )

    async def _complete(self, store: Store, jobs: Sequence[ClaimedJob]) -> list[ClaimedJob]:
        """Bring what lies in the object store; what one message cannot hold is given back."""
        complete: list[ClaimedJob] = []
        ends: list[Outcome] = []
        size = 0
        for job in jobs:
            if size >= ANSWER_BYTES_MAX:
                ends.append(Outcome(job=job, verdict=Verdict.RELEASED))
                continue
            try:
                ready = await with_parameters(self._parameters, job)
            except AttemptError as error:
                ends.append(_not_begun(job, error.error))
                continue
            complete.append(ready)
            size += len(to_json(ready.parameters)) + len(to_json(ready.checkpoint))
        if ends:
            await store.finish(ends)
        return complete

    async def beat(self, envelope: Envelope[BeatWork]) -> WorkHeld:
        """Answer BeatWork; an attempt beyond its time is ended here, and not held any more.

        A checkpoint that cannot be kept is a problem, told after all leases were extended.
        """
        beats = {beat.lease_token: beat for beat in envelope.data.beats}
        found = await self._held.find({token: beat.job_id for token, beat in beats.items()})
        late = [o for h in found.values() if (o := overdue(h, grace_seconds=self._lease_seconds))]
        ended = await self._finish(late, found) if late else set[UUID]()
        unkept = _unkept(beats.values())
        updates = [
            _update(beat, found[token], keep=number not in unkept)
            for number, (token, beat) in enumerate(beats.items())
            if token in found and token not in ended
        ]
        held = (
            await self._open_store("").heartbeat(updates, lease_seconds=self._lease_seconds)
            if updates
            else {}
        )
        if unkept:
            raise ProblemError(_invalid(unkept))
        return WorkHeld(
            held=tuple(held), cancelled=tuple(token for token, cancel in held.items() if cancel)
        )

    async def end(self, envelope: Envelope[EndWork]) -> WorkEnded:
        """Answer EndWork."""
        ends: dict[UUID, WorkEnd] = {}
        for end in envelope.data.ends:
            ends.setdefault(end.lease_token, end)
        found = await self._held.find({token: end.job_id for token, end in ends.items()})
        outcomes = [outcome_of(ends[token], held) for token, held in found.items()]
        return WorkEnded(stored=tuple(await self._finish(outcomes, found) if outcomes else ()))

    async def _finish(
        self, outcomes: Sequence[Outcome], found: Mapping[UUID, HeldJob]
    ) -> set[UUID]:
        """Store ends together; when they are refused, each by itself."""
        store = self._open_store(found[outcomes[0].job.lease_token].worker)
        try:
            stored = await store.finish(outcomes)
        except Exception as error:
            if is_transient(error):
                raise
            log.warning("ends_refused", count=len(outcomes), error=repr(error)[:300])
            if len(outcomes) > 1:
                alone = [await self._finish([outcome], found) for outcome in outcomes]
                return set[UUID]().union(*alone)
            reason = storable.unstorable("the database refused it").error
            failed = Outcome(job=outcomes[0].job, verdict=Verdict.FAILED, error=reason)
            stored = await store.finish([failed])
        _count(outcomes, found, stored)
        return stored


def _count(outcomes: Sequence[Outcome], found: Mapping[UUID, HeldJob], stored: set[UUID]) -> None:
    for outcome in outcomes:
        job = outcome.job
        if job.lease_token not in stored:
            continue
        ENDED.labels(job.type, outcome.state.value).inc()
        RUN_SECONDS.labels(job.type).observe(outcome.run_seconds)
        if outcome.verdict is Verdict.FAILED:
            error = outcome.error or JobError(code="unknown", message="")
            log.warning(
                "attempt_failed",
                job_id=str(job.id),
                job_type=job.type,
                attempt=job.attempt,
                worker=found[job.lease_token].worker,
                code=error.code,
                message=error.message,
            )


def _not_begun(job: ClaimedJob, error: JobError) -> Outcome:
    """End an attempt that cannot be given to its worker."""
    wait = retry_in(error, attempt=job.attempt, attempts_max=job.attempts_max)
    return Outcome(job=job, verdict=Verdict.FAILED, error=error, retry_in=wait)


def _item(job: ClaimedJob, now: datetime) -> WorkItem:
    seconds = job.timeout_seconds
    if job.deadline_at is not None:
        seconds = min(seconds, (job.deadline_at - now).total_seconds())
    return WorkItem(
        job_id=job.id,
        job_type=job.type,
        tenant=job.tenant,
        priority=job.priority,
        parameters=job.parameters,
        attempt=job.attempt,
        attempts_max=job.attempts_max,
        timeout_seconds=max(seconds, TIMEOUT_SECONDS_MIN),
        lease_token=job.lease_token,
        checkpoint=job.checkpoint,
        traceparent=job.traceparent,
    )


def _update(beat: Beat, held: HeldJob, *, keep: bool) -> ProgressUpdate:
    progress = held.progress if beat.progress is None else storable.progress(beat.progress)
    return ProgressUpdate(
        job=held.job,
        progress=progress,
        moved=progress != held.progress,
        checkpoint=beat.checkpoint if keep else None,
    )


def _unkept(beats: Iterable[Beat]) -> dict[int, str]:
    """Return why checkpoints cannot be kept, by the number of the beat."""
    unkept: dict[int, str] = {}
    for number, beat in enumerate(beats):
        try:
            storable.checkpoint(beat.checkpoint or {})
        except storable.UnstorableError as error:
            unkept[number] = error.error.message
    return unkept


def _invalid(unkept: Mapping[int, str]) -> Problem:
    return Problem(
        code="invalid_input",
        title="A checkpoint cannot be kept",
        detail=f"{len(unkept)} field(s) need attention",
        status=422,
        errors=tuple(
            FieldProblem(pointer=f"/beats/{number}/checkpoint", code="not_storable", message=why)
            for number, why in unkept.items()
        ),
    )
