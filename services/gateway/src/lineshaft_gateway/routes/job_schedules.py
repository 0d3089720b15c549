"""`/api/job-schedules`: jobs that start by the clock, and the ledger of their fires."""

from typing import Annotated

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.job_schedules import (
    DeleteJobSchedule,
    JobFires,
    JobSchedule,
    JobSchedules,
    JobScheduleView,
    ListJobFires,
    ListJobSchedules,
    PreviewJobSchedule,
    SetJobSchedule,
)
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.job_checks import JobChecks
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.named import NAME, name_of

EXAMPLE = {
    "job_type": "report.generate",
    "parameters": {
        "source": "mes",
        "shift_start": "2026-11-24T05:00:00Z",
        "shift_end": "2026-11-24T13:00:00Z",
    },
    "cron": "30 22 * * 1-5",
    "zone": "Europe/Berlin",
}


class ScheduleBody(JobSchedule):
    """When to run what: by cron expression in a time zone, or every so many seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class FiresQuery(BaseModel):
    """How many past fires to list."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=500)] = 50


class PreviewQuery(BaseModel):
    """How many coming fires to tell."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    limit: Annotated[int, Field(ge=1, le=100)] = 10


class ScheduleRoutes:
    """Handlers."""

    def __init__(self, bus: Bus, checks: JobChecks) -> None:
        self._bus = bus
        self._checks = checks

    async def list_all(self, call: Call) -> web.Response:
        """All schedules of the tenant."""
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(ListJobSchedules(), tenant=tenant, source=SOURCE))

    async def get(self, call: Call) -> web.Response:
        """One schedule."""
        question = ListJobSchedules(name=name_of(call, missing=NOT_FOUND))
        found = await self._bus.ask(question, tenant=call.principal.tenant, source=SOURCE)
        if not found.schedules:
            raise ProblemError(NOT_FOUND)
        return json_answer(found.schedules[0])

    async def put(self, call: Call) -> web.Response:
        """200 with the schedule as it holds from now on."""
        schedule: ScheduleBody = call.body
        name = name_of(call)
        await self._checks.check(schedule.job_type, schedule.parameters, type_at="/job_type")
        command = SetJobSchedule(name=name, schedule=schedule, actor=call.principal.prefix)
        reply = await self._bus.ask(command, tenant=call.principal.tenant, source=SOURCE)
        return json_answer(reply.schedule)

    async def delete(self, call: Call) -> web.Response:
        """204; jobs that it started stay."""
        name = name_of(call, missing=NOT_FOUND)
        command = DeleteJobSchedule(name=name, actor=call.principal.prefix)
        await self._bus.ask(command, tenant=call.principal.tenant, source=SOURCE)
        return web.Response(status=204)

    async def fires(self, call: Call) -> web.Response:
        """Past fires and the next ones."""
        name = name_of(call, missing=NOT_FOUND)
        question = ListJobFires(name=name, limit=call.query.limit)
        found = await self._bus.ask(question, tenant=call.principal.tenant, source=SOURCE)
        return json_answer(found)

    async def preview(self, call: Call) -> web.Response:
        """When a schedule would fire."""
        question = PreviewJobSchedule(schedule=call.body, limit=call.query.limit)
        found = await self._bus.ask(question, tenant=call.principal.tenant, source=SOURCE)
        return json_answer(found)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (*self._reads(), *self._changes())

    def _reads(self) -> tuple[Operation, ...]:
        rows = (
            ("listJobSchedules", "", "List schedules", self.list_all, JobSchedules),
            ("getJobSchedule", "/{name}", "Read a schedule", self.get, JobScheduleView),
            (
                "listJobFires",
                "/{name}/fires",
                "What a schedule did and will",
                self.fires,
                JobFires,
            ),
        )
        return tuple(
            Operation(
                id=id_,
                method="GET",
                path=f"/api/job-schedules{path}",
                tag="Jobs",
                summary=summary,
                handle=handle,
                scope=Scope.JOBS_READ,
                query=FiresQuery if id_ == "listJobFires" else None,
                parameters=(NAME,) if path else (),
                answers=(Answer(status=200, description=summary, model=model),),
                problems={404: NOT_FOUND.code} if path else {},
            )
            for id_, path, summary, handle, model in rows
        )

    def _changes(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="previewJobSchedule",
                method="POST",
                path="/api/job-schedules/preview",
                tag="Jobs",
                summary="When a schedule would fire",
                description="Nothing is made.",
                handle=self.preview,
                scope=Scope.JOBS_READ,
                query=PreviewQuery,
                body=ScheduleBody,
                answers=(Answer(status=200, description="Coming fires", model=JobFires),),
                example=EXAMPLE,
            ),
            Operation(
                id="setJobSchedule",
                method="PUT",
                path="/api/job-schedules/{name}",
                tag="Jobs",
                summary="Make or replace a schedule",
                handle=self.put,
                scope=Scope.JOBS_WRITE,
                parameters=(NAME,),
                body=ScheduleBody,
                answers=(Answer(status=200, description="The schedule", model=JobScheduleView),),
                problems={
                    409: "too_many_schedules",
                    413: "body_too_large, parameters_too_large",
                    422: CODES,
                },
                example=EXAMPLE,
            ),
            Operation(
                id="deleteJobSchedule",
                method="DELETE",
                path="/api/job-schedules/{name}",
                tag="Jobs",
                summary="Remove a schedule",
                description="Its ledger goes with it; jobs that it started stay.",
                handle=self.delete,
                scope=Scope.JOBS_WRITE,
                parameters=(NAME,),
                answers=(Answer(status=204, description="Removed"),),
                problems={404: NOT_FOUND.code},
            ),
        )


CODES = "invalid_input, unknown_job_type"
NOT_FOUND = Problem(code="job_schedule_not_found", title="There is no such schedule", status=404)
