"""Workers over AMQP: they offer types, fetch jobs, keep the leases and report the ends."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol
from uuid import UUID

import structlog
from lineshaft_common.transient import is_transient
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_catalogue import JobTypeView
from lineshaft_contracts.job_work import (
    Beat,
    BeatWork,
    EndWork,
    FetchWork,
    OfferedType,
    OfferWork,
    WorkEnd,
    WorkEnded,
    WorkFetched,
    WorkHeld,
    WorkItem,
    WorkOffered,
)
from lineshaft_contracts.jobs import JobError
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_job_runner import storable
from lineshaft_job_runner.job import ClaimedJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.meters import ENDED, RUN_SECONDS, WAIT_SECONDS
from lineshaft_job_runner.remote_ends import HeldJob, outcome_of, overdue

log = structlog.get_logger(__name__)

REMOTE = "remote"
"""The isolation of a type that a worker over AMQP serves."""
TIMEOUT_SECONDS_MIN = 0.1


class Registry(Protocol):
    """What offers ask of the store; see store/served_types.py."""

    async def offer(self, worker: str, views: Sequence[JobTypeView]) -> datetime:
        """Say that a worker serves these types; returns until when."""
        ...

    async def built_in(self, types: Sequence[str]) -> list[str]:
        """List those that a live job-runner serves itself."""
        ...

    async def offered(self, worker: str) -> frozenset[str]:
        """List what a worker offers at present."""
        ...


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

    Offers and beats are idempotent; ends are by their lease token. A job that was fetched by an
    answer which got lost is rescued like that of a worker that died.
    """

    def __init__(
        self,
        registry: Registry,
        held: Held,
        open_store: Callable[[str], Store],
        *,
        lease_seconds: float,
        on_offered: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._held = held
        self._open_store = open_store
        self._lease_seconds = lease_seconds
        self._on_offered = on_offered

    async def offer(self, envelope: Envelope[OfferWork]) -> WorkOffered:
        """Answer OfferWork."""
        offer = envelope.data
        views = [_view(offered) for offered in offer.job_types]
        _refuse_unstorable("job_types", enumerate(view.model_dump() for view in views))
        taken = await self._registry.built_in([view.name for view in views])
        if taken:
            detail = f"a job-runner serves it itself: {', '.join(taken)}"
            raise ProblemError(
                Problem(
                    code="job_type_built_in",
                    title="This job type is the platform's own",
                    detail=detail,
                    status=409,
                )
            )
        until = await self._registry.offer(offer.worker, list({v.name: v for v in views}.values()))
        self._on_offered()
        return WorkOffered(until=until)

    async def fetch(self, envelope: Envelope[FetchWork]) -> WorkFetched:
        """Answer FetchWork."""
        ask = envelope.data
        unoffered = set(ask.job_types) - await self._registry.offered(ask.worker)
        if unoffered:
            raise ProblemError(
                Problem(
                    code="job_type_not_offered",
                    title="Offer a job type before you fetch jobs of it",
                    detail=f"{ask.worker!r} does not offer: {', '.join(sorted(unoffered))}",
                    status=409,
                )
            )
        jobs = await self._open_store(ask.worker).claim(
            sorted(set(ask.job_types)), limit=ask.jobs_max, lease_seconds=self._lease_seconds
        )
        for job in jobs:
            WAIT_SECONDS.labels(job.type).observe(job.waited_seconds)
        now = datetime.now(UTC)
        return WorkFetched(
            jobs=tuple(_item(job, now) for job in jobs), lease_seconds=self._lease_seconds
        )

    async def beat(self, envelope: Envelope[BeatWork]) -> WorkHeld:
        """Answer BeatWork; an attempt beyond its time is ended here, and not held any more.

        A checkpoint that cannot be kept is a problem, told after all leases were extended.
        """
        beats = {beat.lease_token: beat for beat in envelope.data.beats}
        found = await self._held.find({token: beat.job_id for token, beat in beats.items()})
        late = [o for h in found.values() if (o := overdue(h, grace_seconds=self._lease_seconds))]
        ended = await self._finish(late, found) if late else set[UUID]()
        unkept = dict(_unstorable((n, beat.checkpoint) for n, beat in enumerate(beats.values())))
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
            raise ProblemError(_invalid("beats", unkept, field="checkpoint"))
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


def _view(offered: OfferedType) -> JobTypeView:
    return JobTypeView(
        **{name: getattr(offered, name) for name in OfferedType.model_fields},
        memory_bytes_max=None,
        isolation=REMOTE,
    )


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


def _unstorable(
    values: Iterable[tuple[int, Mapping[str, Any] | None]],
) -> Iterable[tuple[int, str]]:
    """Go through the values that the database would refuse, with the reason."""
    for number, value in values:
        try:
            storable.check(dict(value or {}))
        except storable.UnstorableError as error:
            yield number, error.error.message


def _refuse_unstorable(place: str, values: Iterable[tuple[int, Mapping[str, Any] | None]]) -> None:
    refused = dict(_unstorable(values))
    if refused:
        raise ProblemError(_invalid(place, refused))


def _invalid(place: str, reasons: Mapping[int, str], *, field: str = "") -> Problem:
    return Problem(
        code="invalid_input",
        title="The input is not valid",
        detail=f"{len(reasons)} field(s) need attention",
        status=422,
        errors=tuple(
            FieldProblem(
                pointer=f"/{place}/{number}{field and '/' + field}",
                code="not_storable",
                message=reason,
            )
            for number, reason in reasons.items()
        ),
    )
