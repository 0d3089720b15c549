"""`/api/job-limits`: how much of what may run, and pauses."""

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.job_control import (
    DeleteJobLimit,
    JobLimit,
    JobLimitView,
    ListJobLimits,
    SetJobLimit,
)
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import BaseModel, ConfigDict

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Principal, Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.named import NAME, name_of


class LimitBody(JobLimit):
    """How much of something may run; a job is held by every limit that it matches.

    `job_type` and `limit_key` choose jobs, absent ones match all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LimitQuery(BaseModel):
    """Whose limit is meant."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    every_tenant: bool = False
    """The platform's, for all tenants together; changing it needs `system:write`, too."""


class Limit(BaseModel):
    """A limit and what is used of it."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    name: str
    every_tenant: bool
    """Set by the platform, for all tenants together."""
    limit: JobLimit
    running: int | None
    """What runs under it; of the platform's own only for who may read the system."""
    starts_left: int | None
    """None without a rate."""


class Limits(BaseModel):
    """The tenant's own, then the platform's."""

    limits: tuple[Limit, ...]


class LimitRoutes:
    """Handlers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def list_all(self, call: Call) -> web.Response:
        """All limits that hold for the tenant's jobs."""
        return json_answer(Limits(limits=await self._known(call.principal)))

    async def get(self, call: Call) -> web.Response:
        """One limit."""
        name, query = call.request.match_info["name"], call.query
        for known in await self._known(call.principal):
            if (known.name, known.every_tenant) == (name, query.every_tenant):
                return json_answer(known)
        raise ProblemError(NOT_FOUND)

    async def put(self, call: Call) -> web.Response:
        """200 with the limit as it holds from now on."""
        command = SetJobLimit(
            name=name_of(call),
            limit=call.body,
            every_tenant=_every_tenant(call),
            actor=call.principal.prefix,
        )
        tenant = call.principal.tenant
        reply = await self._bus.ask(command, tenant=tenant, source=SOURCE)
        return json_answer(_seen(reply.limit, call.principal))

    async def delete(self, call: Call) -> web.Response:
        """204; what it held starts."""
        command = DeleteJobLimit(
            name=name_of(call, missing=NOT_FOUND),
            every_tenant=_every_tenant(call),
            actor=call.principal.prefix,
        )
        await self._bus.ask(command, tenant=call.principal.tenant, source=SOURCE)
        return web.Response(status=204)

    async def _known(self, principal: Principal) -> tuple[Limit, ...]:
        found = await self._bus.ask(ListJobLimits(), tenant=principal.tenant, source=SOURCE)
        return tuple(_seen(limit, principal) for limit in found.limits)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (*self._reads(), *self._changes())

    def _reads(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="listJobLimits",
                method="GET",
                path="/api/job-limits",
                tag="Jobs",
                summary="List limits and pauses",
                handle=self.list_all,
                scope=Scope.JOBS_READ,
                answers=(Answer(status=200, description="The limits", model=Limits),),
            ),
            Operation(
                id="getJobLimit",
                method="GET",
                path="/api/job-limits/{name}",
                tag="Jobs",
                summary="Read a limit",
                handle=self.get,
                scope=Scope.JOBS_READ,
                query=LimitQuery,
                parameters=(NAME,),
                answers=(Answer(status=200, description="The limit", model=Limit),),
                problems={404: NOT_FOUND.code},
            ),
        )

    def _changes(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="setJobLimit",
                method="PUT",
                path="/api/job-limits/{name}",
                tag="Jobs",
                summary="Make or replace a limit, or pause",
                description="Holds for what starts from now on; what runs goes on.",
                handle=self.put,
                scope=Scope.JOBS_ADMIN,
                query=LimitQuery,
                parameters=(NAME,),
                body=LimitBody,
                answers=(Answer(status=200, description="The limit", model=Limit),),
                problems={409: "too_many_job_limits"},
                example={"limit_key": "press-1", "running_max": 1, "note": "One tool"},
            ),
            Operation(
                id="deleteJobLimit",
                method="DELETE",
                path="/api/job-limits/{name}",
                tag="Jobs",
                summary="Remove a limit",
                handle=self.delete,
                scope=Scope.JOBS_ADMIN,
                query=LimitQuery,
                parameters=(NAME,),
                answers=(Answer(status=204, description="Removed"),),
                problems={404: NOT_FOUND.code},
            ),
        )


def _every_tenant(call: Call) -> bool:
    query: LimitQuery = call.query
    if query.every_tenant and not call.principal.may(Scope.SYSTEM_WRITE):
        raise ProblemError(PLATFORMS_OWN)
    return query.every_tenant


def _seen(known: JobLimitView, principal: Principal) -> Limit:
    """Keep what all tenants use together from who may see only its own."""
    counted = not known.every_tenant or principal.may(Scope.SYSTEM_READ)
    return Limit(
        name=known.name,
        every_tenant=known.every_tenant,
        limit=known.limit,
        running=known.running if counted else None,
        starts_left=known.starts_left if counted else None,
    )


NOT_FOUND = Problem(code="job_limit_not_found", title="There is no such limit", status=404)
PLATFORMS_OWN = Problem(
    code="missing_scope",
    title="The key may not do this",
    detail=f"Limits for every tenant need the scope {Scope.SYSTEM_WRITE}, too.",
    status=403,
)
