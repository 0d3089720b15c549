"""Many jobs in one call: each is checked and answered by itself, and none of them gets lost."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, cast
from uuid import UUID

from lineshaft_common.messaging.bus import Bus, NoReplyError, PublishError
from lineshaft_contracts.envelope import envelop
from lineshaft_contracts.jobs import SUBMISSIONS_MAX, BulkSubmission, SubmissionResult, SubmitJobs
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from pydantic import BaseModel, ConfigDict
from pydantic_core import to_json

from lineshaft_gateway import json_input
from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.job_checks import (
    IDEMPOTENCY_KEY,
    KEY_MAX,
    UNKNOWN_TYPE,
    JobChecks,
    key_of_header,
    refusal,
)
from lineshaft_gateway.job_submission import Submission, check

BATCH_MAX = 10_000
BATCH_BYTES_MAX = 32 * 1024 * 1024
VALUES_MAX = 1_000_000
"""Values that a batch may have: in memory, brackets take far more than they do as text."""
MESSAGE_BYTES_MAX = 1024 * 1024
MESSAGES_UNDER_WAY = 8
DECIDED_WITHIN_SECONDS = 5.0
"""How long a message of a hundred jobs may take before the job-runner counts as away."""
YIELD_EVERY = 50
"""After so many checked jobs other requests get a turn."""


class BatchOutcome(StrEnum):
    """What became of one job of a batch."""

    CREATED = "created"
    REPEATED = "repeated"
    """There was one of this idempotency key or unique key already."""
    ACCEPTED = "accepted"
    """The broker has it safely; the job-runner, which is away, takes it when it returns."""
    REFUSED = "refused"


class BatchItem(BaseModel):
    """The result of one job."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    index: int
    """Its place in `jobs`, from 0."""
    outcome: BatchOutcome
    id: UUID | None = None
    """Absent when it was refused."""
    problem: Problem | None = None
    """Why it was refused; pointers are from the root of the body."""


class BatchResult(BaseModel):
    """One result for each job, in the order of the request."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    created: int
    repeated: int
    accepted: int
    refused: int
    results: tuple[BatchItem, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Entry:
    """A job that passed the door."""

    index: int
    job: BulkSubmission
    bytes: int


class BatchDesk:
    """Takes batches."""

    def __init__(self, bus: Bus, checks: JobChecks) -> None:
        self._bus = bus
        self._checks = checks

    async def submit(self, body: bytes, *, tenant: str, header_key: str | None) -> BatchResult:
        """Hand over what is valid of a batch.

        Raises ProblemError when the body is no batch, PublishError when the broker has nothing of
        it; a repeat with the same keys does nothing twice.
        """
        key = None if header_key is None else _key_of_batch(header_key)
        items = _items(body)
        door = _Door(self._checks, key)
        entries: list[_Entry] = []
        refusals: list[BatchItem] = []
        for index, item in enumerate(items):
            items[index] = None  # It may be large, and is not needed twice.
            try:
                entries.append(await door.entry(index, item))
            except ProblemError as error:
                refusals.append(_refused(index, error.problem))
            if index % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        sent = await _Sending(self._bus, tenant).send(entries)
        return _result(sorted((*refusals, *sent), key=lambda item: item.index))


class _Door:
    """Checks the jobs of one batch; a type that cannot be had is asked about once."""

    def __init__(self, checks: JobChecks, key: str | None) -> None:
        self._checks = checks
        self._key = key
        self._not_served: dict[str, Problem] = {}

    async def entry(self, index: int, item: Any) -> _Entry:
        """Read and check a job; raises ProblemError."""
        text = to_json(item)
        submission = json_input.read(Submission, text)
        await self._check(submission)
        key = self._key
        own = submission.idempotency_key or (None if key is None else f"{key}/{index}")
        fields = submission.command(idempotency_key=own)
        job = BulkSubmission.model_construct(**fields, priority=submission.priority)
        return _Entry(index=index, job=job, bytes=len(text))

    async def _check(self, submission: Submission) -> None:
        if submission.type in self._not_served:
            raise ProblemError(self._not_served[submission.type])
        try:
            await check(submission, self._checks)
        except (NoReplyError, PublishError) as error:
            self._not_served[submission.type] = TYPE_UNCHECKED
            raise ProblemError(TYPE_UNCHECKED) from error
        except ProblemError as error:
            if error.problem.code == UNKNOWN_TYPE:
                self._not_served[submission.type] = error.problem
            raise


class _Sending:
    """One batch on its way: a few messages at a time, so that memory and queues stay small."""

    def __init__(self, bus: Bus, tenant: str) -> None:
        self._bus = bus
        self._tenant = tenant
        self._slots = asyncio.Semaphore(MESSAGES_UNDER_WAY)
        self._is_away = False

    async def send(self, entries: Sequence[_Entry]) -> list[BatchItem]:
        """Send all; raises PublishError when the broker took not one message."""
        tasks: list[asyncio.Task[list[BatchItem]]] = []
        async with asyncio.TaskGroup() as group:
            tasks += [group.create_task(self._send(part)) for part in _parts(entries)]
        results = [item for task in tasks for item in task.result()]
        if results and all(_is_broker_away(item) for item in results):
            raise PublishError("the broker took nothing of the batch")
        return results

    async def _send(self, part: Sequence[_Entry]) -> list[BatchItem]:
        command = SubmitJobs.model_construct(jobs=tuple(entry.job for entry in part))
        async with self._slots:
            try:
                decided = await self._decided(command)
            except PublishError:
                return [_refused(entry.index, BROKER_AWAY) for entry in part]
            except ProblemError as error:
                return [_refused(entry.index, error.problem) for entry in part]
        if decided is None:
            return [_safe(entry.index, BatchOutcome.ACCEPTED, entry.job.job_id) for entry in part]
        return [_decided(entry.index, one) for entry, one in zip(part, decided, strict=True)]

    async def _decided(self, command: SubmitJobs) -> tuple[SubmissionResult, ...] | None:
        """Return the results; None when the broker has the jobs and the job-runner is away."""
        if self._is_away:  # Others have waited for it already: these only have to be safe.
            await self._bus.publish(envelop(command, source=SOURCE, tenant=self._tenant))
            return None
        try:
            reply = await self._bus.ask(
                command,
                tenant=self._tenant,
                source=SOURCE,
                deadline_seconds=DECIDED_WITHIN_SECONDS,
            )
        except NoReplyError:
            self._is_away = True
            return None
        return reply.results


def _items(body: bytes) -> list[Any]:
    """Read the list of jobs, each not looked at yet; raises ProblemError."""
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > VALUES_MAX:
        raise ProblemError(TOO_MANY_VALUES)
    batch = json_input.load(body)
    found: Any = cast("dict[str, Any]", batch).get("jobs") if isinstance(batch, dict) else None
    if not isinstance(found, list):
        raise refusal("/jobs", "list_type", "must be a list of jobs")
    if set(cast("dict[str, Any]", batch)) != {"jobs"}:
        raise refusal("", "extra_forbidden", "nothing but jobs is accepted here")
    jobs = cast("list[Any]", found)
    if not 1 <= len(jobs) <= BATCH_MAX:
        raise refusal("/jobs", "wrong_length", f"{len(jobs)} jobs; 1 to {BATCH_MAX} are accepted")
    return jobs


def _key_of_batch(header: str) -> str:
    key = key_of_header(header)
    longest = KEY_MAX - len(f"/{BATCH_MAX}")
    if len(key) > longest:
        message = f"at most {longest} characters: the place of each job is added"
        raise refusal(f"/header/{IDEMPOTENCY_KEY}", "string_too_long", message)
    return key


def _parts(entries: Sequence[_Entry]) -> Iterator[list[_Entry]]:
    """Cut a batch into messages of at most a hundred jobs and about 1 MiB."""
    part: list[_Entry] = []
    size = 0
    for entry in entries:
        if part and (len(part) == SUBMISSIONS_MAX or size + entry.bytes > MESSAGE_BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(entry)
        size += entry.bytes
    if part:
        yield part


def _decided(index: int, result: SubmissionResult) -> BatchItem:
    if result.problem is not None:
        return _refused(index, result.problem)
    outcome = BatchOutcome.CREATED if result.created else BatchOutcome.REPEATED
    return _safe(index, outcome, result.job_id)


def _safe(index: int, outcome: BatchOutcome, job_id: UUID) -> BatchItem:
    return BatchItem(index=index, outcome=outcome, id=job_id)


def _refused(index: int, problem: Problem) -> BatchItem:
    errors = tuple(
        FieldProblem(
            pointer=f"/jobs/{index}{error.pointer}", code=error.code, message=error.message
        )
        for error in problem.errors
    )
    placed = problem.model_copy(update={"errors": errors})
    return BatchItem(index=index, outcome=BatchOutcome.REFUSED, problem=placed)


def _is_broker_away(item: BatchItem) -> bool:
    return item.problem is not None and item.problem.code == BROKER_AWAY.code


def _result(items: Sequence[BatchItem]) -> BatchResult:
    counts = Counter(item.outcome for item in items)
    return BatchResult(
        created=counts[BatchOutcome.CREATED],
        repeated=counts[BatchOutcome.REPEATED],
        accepted=counts[BatchOutcome.ACCEPTED],
        refused=counts[BatchOutcome.REFUSED],
        results=tuple(items),
    )


BROKER_AWAY = Problem(
    code="broker_unavailable",
    title="The message broker cannot be used now",
    detail="The job may or may not have been accepted: send it again with the same key.",
    status=503,
    retry_after_seconds=2,
)
TYPE_UNCHECKED = Problem(
    code="service_unavailable",
    title="The job-runner did not answer",
    detail="Nobody can say now whether the type is served. Try again.",
    status=503,
    retry_after_seconds=1,
)
TOO_MANY_VALUES = Problem(
    code="batch_too_large",
    title="The batch has too many values",
    detail=f"at most {VALUES_MAX} in all are accepted",
    status=413,
)
