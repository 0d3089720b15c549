"""Submitting a job: checked here as far as possible, then handed to the broker for good."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from lineshaft_common.messaging.bus import Bus, NoReplyError
from lineshaft_contracts.envelope import Moment, Priority, uuid7
from lineshaft_contracts.job_types import BUILT_IN
from lineshaft_contracts.jobs import PARAMETERS_BYTES_MAX, JobAccepted, JobTypeName, SubmitJob
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, invalid
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError
from pydantic_core import to_json

from lineshaft_gateway.catalogue import SOURCE, Catalogue
from lineshaft_gateway.json_input import refused

ACCEPT_DEADLINE_SECONDS = 1.0
"""How long a submitter waits for the job-runner before it gets 202."""

IdempotencyKey = Annotated[str, Field(min_length=1, max_length=255)]


class Submission(BaseModel):
    """A job to run."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: JobTypeName
    """One of `GET /api/job-types`."""
    parameters: dict[str, JsonValue] = Field(default_factory=dict)
    """What the type's schema asks for; at most 64 KiB as JSON."""
    priority: Priority = Priority.NORMAL
    idempotency_key: IdempotencyKey | None = None
    """A repeat of (tenant, type, key) gives the job of the first time. Also as header field
    `Idempotency-Key`."""
    run_at: Moment | None = None
    """Not before this instant."""
    attempts_max: Annotated[int, Field(ge=1, le=100)] | None = None
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Of one attempt."""


class SubmittedLater(BaseModel):
    """The broker has the job safely; the job-runner, which is away, takes it when it returns."""

    id: UUID
    """With an idempotency key the id may be that of an earlier submission instead: repeat the
    request to learn it."""
    state: str = "accepted"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a submission; `accepted` is None while the job-runner is away."""

    job_id: UUID
    accepted: JobAccepted | None


class JobDesk:
    """Takes submissions."""

    def __init__(self, bus: Bus, catalogue: Catalogue) -> None:
        self._bus = bus
        self._catalogue = catalogue

    async def submit(
        self, submission: Submission, *, tenant: str, header_key: str | None
    ) -> Outcome:
        """Hand over a job.

        Raises ProblemError for what cannot be accepted, PublishError when the broker cannot.
        """
        await self._check(submission)
        command = SubmitJob(
            job_id=uuid7(),
            job_type=submission.type,
            parameters=submission.parameters,
            idempotency_key=_one_key(submission.idempotency_key, header_key),
            run_at=submission.run_at,
            attempts_max=submission.attempts_max,
            timeout_seconds=submission.timeout_seconds,
        )
        try:
            accepted = await self._bus.ask(
                command,
                tenant=tenant,
                source=SOURCE,
                priority=submission.priority,
                deadline_seconds=ACCEPT_DEADLINE_SECONDS,
            )
        except NoReplyError:
            return Outcome(job_id=command.job_id, accepted=None)
        return Outcome(job_id=accepted.job.id, accepted=accepted)

    async def _check(self, submission: Submission) -> None:
        size = len(to_json(submission.parameters))
        if size > PARAMETERS_BYTES_MAX:
            raise ProblemError(_too_large(size))
        built_in = BUILT_IN.get(submission.type)
        if built_in is not None:
            check_parameters(built_in[0], submission.parameters)
            return
        if submission.type in {known.name for known in await self._catalogue.job_types()}:
            return
        names = await self._catalogue.names()
        if submission.type not in names:
            raise ProblemError(_unknown(submission.type, names))


def check_parameters(model: type[BaseModel], parameters: dict[str, Any]) -> None:
    """Hold parameters against their type's model; raises ProblemError with pointers."""
    try:
        model.model_validate(parameters)
    except ValidationError as error:
        raise ProblemError(
            invalid(error.errors(include_url=False), prefix=("parameters",))
        ) from None


def _one_key(in_body: str | None, in_header: str | None) -> str | None:
    if in_header is None:
        return in_body
    # The draft writes it as a quoted string; many clients leave the quotes out.
    quoted = len(in_header) > 1 and in_header[0] == in_header[-1] == '"'
    key = in_header[1:-1] if quoted else in_header
    if not 1 <= len(key) <= 255 or not key.isprintable():
        message = "must be 1 to 255 printable characters"
        raise ProblemError(
            refused((FieldProblem(pointer="/idempotency_key", code="invalid", message=message),))
        )
    if in_body is not None and in_body != key:
        message = "differs from the header field Idempotency-Key"
        raise ProblemError(
            refused(
                (FieldProblem(pointer="/idempotency_key", code="contradiction", message=message),)
            )
        )
    return key


def _too_large(size: int) -> Problem:
    message = f"{size} bytes as JSON; at most {PARAMETERS_BYTES_MAX} are accepted"
    return Problem(
        code="parameters_too_large",
        title="The parameters are too large",
        detail=message,
        status=413,
        errors=(FieldProblem(pointer="/parameters", code="too_large", message=message),),
    )


def _unknown(job_type: str, names: list[str]) -> Problem:
    message = f"known types: {', '.join(names)}"
    return Problem(
        code="unknown_job_type",
        title="The job type is not known",
        detail=f"No live worker serves {job_type}; {message}",
        status=422,
        errors=(FieldProblem(pointer="/type", code="unknown_job_type", message=message),),
    )
