"""`/api/jobs`, `/api/jobs-stats` and `/api/job-types`: handlers that ask the job-runner."""

from typing import Annotated, Any
from uuid import UUID

from aiohttp import web
from lineshaft_common.messaging.bus import ASK_DEADLINE_SECONDS, Bus, NoReplyError
from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.job_catalogue import JobTypes
from lineshaft_contracts.job_statistics import GetJobStats, JobStats
from lineshaft_contracts.jobs import (
    CancelJob,
    GetJob,
    JobKey,
    JobPage,
    JobState,
    JobTypeName,
    JobView,
    ListJobs,
)
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from lineshaft_gateway.catalogue import SOURCE, Catalogue
from lineshaft_gateway.coalescing import Coalescer
from lineshaft_gateway.job_checks import IDEMPOTENCY_KEY
from lineshaft_gateway.job_submission import JobDesk, Submission, SubmittedLater
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.job_schema import submission_schema

JOB_ID = Parameter(
    name="job_id",
    place="path",
    description="The job's id.",
    schema={"type": "string", "format": "uuid"},
)
KEY_FIELD = Parameter(
    name=IDEMPOTENCY_KEY,
    place="header",
    description="See `idempotency_key`.",
    schema={"type": "string", "maxLength": 257},
)
LOCATION = {"Location": "Where the job is read."}
SUBMISSION_EXAMPLE = {
    "type": "report.generate",
    "parameters": {
        "source": "mes",
        "shift_start": "2026-11-24T05:00:00Z",
        "shift_end": "2026-11-24T13:00:00Z",
    },
}


def _known(state: JobState) -> JobState:
    """Refuse a state that there is not: no job would be in it, whatever was meant."""
    if state is JobState.UNKNOWN:
        names = ", ".join(known.value for known in JobState if known is not JobState.UNKNOWN)
        raise PydanticCustomError("enum", "Input should be one of {names}", {"names": names})
    return state


class JobListQuery(BaseModel):
    """Which jobs to list; the newest are first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    state: Annotated[
        tuple[Annotated[JobState, AfterValidator(_known)], ...], Field(max_length=10)
    ] = ()
    """May be repeated."""
    type: JobTypeName | None = None
    order_key: JobKey | None = None
    idempotency_key: JobKey | None = None
    parent_id: UUID | None = None
    """Jobs that this one submitted."""
    submitted_after: Moment | None = None
    submitted_before: Moment | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None
    """`next_cursor` of the page before."""


class JobRoutes:
    """Handlers; each asks for the tenant of the key, and the job-runner knows no other way."""

    def __init__(self, bus: Bus, catalogue: Catalogue, desk: JobDesk) -> None:
        self._bus = bus
        self._catalogue = catalogue
        self._desk = desk
        self._coalescer = Coalescer()

    async def submit(self, call: Call) -> web.Response:
        """201 with a new job, 200 with the job of a repeat, 202 while the job-runner is away."""
        submission: Submission = call.body
        outcome = await self._desk.submit(
            submission,
            tenant=call.principal.tenant,
            header_key=call.request.headers.get(IDEMPOTENCY_KEY),
        )
        location = {"Location": f"/api/jobs/{outcome.job_id}"}
        if outcome.accepted is None:
            return json_answer(SubmittedLater(id=outcome.job_id), status=202, headers=location)
        status = 201 if outcome.accepted.created else 200
        return json_answer(outcome.accepted.job, status=status, headers=location)

    async def list_page(self, call: Call) -> web.Response:
        """One page of the tenant's jobs."""
        query: JobListQuery = call.query
        question = ListJobs(
            states=query.state,
            job_type=query.type,
            order_key=query.order_key,
            idempotency_key=query.idempotency_key,
            parent_id=query.parent_id,
            submitted_after=query.submitted_after,
            submitted_before=query.submitted_before,
            limit=query.limit,
            cursor=query.cursor,
        )
        return json_answer(await self._read(call, question))

    async def get(self, call: Call) -> web.Response:
        """One job of the tenant."""
        found = await self._read(call, GetJob(job_id=job_id(call)))
        return json_answer(found.job)

    async def cancel(self, call: Call) -> web.Response:
        """200 with the job after the request, 202 while the job-runner is away."""
        command = CancelJob(job_id=job_id(call))
        location = {"Location": f"/api/jobs/{command.job_id}"}
        try:
            accepted = await self._bus.ask(command, tenant=call.principal.tenant, source=SOURCE)
        except NoReplyError:
            later = SubmittedLater(id=command.job_id, state="cancel_requested")
            return json_answer(later, status=202, headers=location)
        return json_answer(accepted.job, headers=location)

    async def stats(self, call: Call) -> web.Response:
        """Statistics over the tenant's jobs."""
        return json_answer(await self._read(call, GetJobStats()))

    async def job_types(self, call: Call) -> web.Response:
        """List the job types with their schemas."""
        return json_answer(JobTypes(job_types=await self._catalogue.job_types()))

    async def _read(self, call: Call, question: Any) -> Any:
        tenant = call.principal.tenant
        key = (tenant, question.type, question.model_dump_json())
        return await self._coalescer.get(
            key,
            lambda: self._bus.ask(
                question,
                tenant=tenant,
                source=SOURCE,
                deadline_seconds=ASK_DEADLINE_SECONDS,
            ),
        )

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (self._submission(), *self._reads(), self._cancellation())

    def _submission(self) -> Operation:
        return Operation(
            id="submitJob",
            method="POST",
            path="/api/jobs",
            tag="Jobs",
            summary="Submit a job",
            description="Durable as soon as it is answered with 2xx, also with 202.",
            handle=self.submit,
            scope=Scope.JOBS_WRITE,
            body=Submission,
            body_schema=submission_schema,
            parameters=(KEY_FIELD,),
            answers=(
                Answer(status=201, description="Created", model=JobView, headers=LOCATION),
                Answer(
                    status=200,
                    description="A repeat: the job of the first time",
                    model=JobView,
                    headers=LOCATION,
                ),
                Answer(
                    status=202,
                    description="Accepted; the job-runner is away",
                    model=SubmittedLater,
                    headers=LOCATION,
                ),
            ),
            problems={422: "invalid_input, unknown_job_type", 413: "parameters_too_large"},
            example=SUBMISSION_EXAMPLE,
        )

    def _cancellation(self) -> Operation:
        return Operation(
            id="cancelJob",
            method="POST",
            path="/api/jobs/{job_id}/cancel",
            tag="Jobs",
            summary="Cancel a job",
            description="A running job ends as soon as its worker saw the request.",
            handle=self.cancel,
            scope=Scope.JOBS_WRITE,
            parameters=(JOB_ID,),
            answers=(
                Answer(status=200, description="The job after the request", model=JobView),
                Answer(
                    status=202,
                    description="Requested; the job-runner is away",
                    model=SubmittedLater,
                    headers=LOCATION,
                ),
            ),
            problems={404: "job_not_found", 409: "job_ended"},
        )

    def _reads(self) -> tuple[Operation, ...]:
        rows = (
            ("listJobs", "jobs", "List jobs", self.list_page, JobPage),
            ("getJob", "jobs/{job_id}", "Read a job", self.get, JobView),
            ("getJobStats", "jobs-stats", "Statistics of jobs", self.stats, JobStats),
            ("listJobTypes", "job-types", "List the served types", self.job_types, JobTypes),
        )
        return tuple(
            Operation(
                id=id_,
                method="GET",
                path=f"/api/{path}",
                tag="Jobs",
                summary=summary,
                handle=handle,
                scope=Scope.JOBS_READ,
                query=JobListQuery if id_ == "listJobs" else None,
                parameters=(JOB_ID,) if "{" in path else (),
                answers=(Answer(status=200, description=summary, model=model),),
                problems={404: "job_not_found"} if "{" in path else {},
            )
            for id_, path, summary, handle, model in rows
        )


def job_id(call: Call) -> UUID:
    """Read the id of the path; what cannot be an id is no job."""
    try:
        return UUID(call.request.match_info["job_id"])
    except ValueError:
        raise ProblemError(NOT_FOUND) from None


NOT_FOUND = Problem(code="job_not_found", title="There is no such job", status=404)
