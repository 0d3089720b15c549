"""Steering jobs: `/api/jobs/{id}/explain`, `.../retry`, `/api/jobs/redrive`, `/api/jobs-audit`."""

from typing import Annotated

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.job_control import (
    ExplainJob,
    JobAudit,
    JobExplained,
    JobsRedriven,
    ListJobAudit,
    Redrive,
    RedriveJobs,
    RetryJob,
)
from lineshaft_contracts.jobs import JobView
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.jobs import JOB_ID, job_id

REDRIVE_DEADLINE_SECONDS = 15.0
"""Moving ten thousand jobs takes the job-runner some seconds."""


class RedriveBody(Redrive):
    """Which ended jobs to run again; all conditions have to hold."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class AuditQuery(BaseModel):
    """Which entries to list; the newest are first."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None
    """`next_cursor` of the page before."""


class SteeringRoutes:
    """Handlers; what they change is audited under the prefix of the key."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def explain(self, call: Call) -> web.Response:
        """Why a job does not run now."""
        question = ExplainJob(job_id=job_id(call))
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(question, tenant=tenant, source=SOURCE))

    async def retry(self, call: Call) -> web.Response:
        """200 with the job, queued again."""
        command = RetryJob(job_id=job_id(call), actor=call.principal.prefix)
        tenant = call.principal.tenant
        retried = await self._bus.ask(command, tenant=tenant, source=SOURCE)
        return json_answer(retried.job)

    async def redrive(self, call: Call) -> web.Response:
        """200 with how many matched, and how many of them are queued again."""
        redriven = await self._bus.ask(
            RedriveJobs(redrive=call.body, actor=call.principal.prefix),
            tenant=call.principal.tenant,
            source=SOURCE,
            deadline_seconds=REDRIVE_DEADLINE_SECONDS,
        )
        return json_answer(redriven)

    async def audit(self, call: Call) -> web.Response:
        """One page of what was done to the tenant's jobs."""
        query: AuditQuery = call.query
        question = ListJobAudit(limit=query.limit, cursor=query.cursor)
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(question, tenant=tenant, source=SOURCE))

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (*self._for_one(), *self._for_many())

    def _for_one(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="explainJob",
                method="GET",
                path="/api/jobs/{job_id}/explain",
                tag="Jobs",
                summary="Why a job does not run",
                description="No reason means that a worker is about to take it.",
                handle=self.explain,
                scope=Scope.JOBS_READ,
                parameters=(JOB_ID,),
                answers=(Answer(status=200, description="The reasons", model=JobExplained),),
                problems={404: "job_not_found"},
            ),
            Operation(
                id="retryJob",
                method="POST",
                path="/api/jobs/{job_id}/retry",
                tag="Jobs",
                summary="Run an ended job again",
                description="A failed, quarantined or cancelled one, with its attempts anew.",
                handle=self.retry,
                scope=Scope.JOBS_WRITE,
                parameters=(JOB_ID,),
                answers=(Answer(status=200, description="The job, queued", model=JobView),),
                problems={404: "job_not_found", 409: "job_not_retryable"},
            ),
        )

    def _for_many(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="redriveJobs",
                method="POST",
                path="/api/jobs/redrive",
                tag="Jobs",
                summary="Run many ended jobs again",
                description="With `dry_run` they are only counted.",
                handle=self.redrive,
                scope=Scope.JOBS_ADMIN,
                body=RedriveBody,
                answers=(Answer(status=200, description="How many", model=JobsRedriven),),
                example={"job_type": "report.generate", "jobs_max": 500, "dry_run": True},
            ),
            Operation(
                id="listJobAudit",
                method="GET",
                path="/api/jobs-audit",
                tag="Jobs",
                summary="What was done to jobs, and by whom",
                handle=self.audit,
                scope=Scope.JOBS_ADMIN,
                query=AuditQuery,
                answers=(Answer(status=200, description="The entries", model=JobAudit),),
                problems={422: "invalid_input, invalid_cursor"},
            ),
        )
