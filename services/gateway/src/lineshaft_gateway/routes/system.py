"""`/api/system/...`: handlers that ask the monitor, and the purge of the edges."""

import re
from uuid import UUID

from aiohttp import web
from lineshaft_contracts.alerts import (
    AlertFound,
    AlertPage,
    GetAlert,
    ListAlerts,
)
from lineshaft_contracts.edges import (
    AssetMetricsFound,
    CdnStatusFound,
    GetAssetMetrics,
    GetCdnStatus,
)
from lineshaft_contracts.monitoring import (
    GetMonitoring,
    ListMetrics,
    MetricList,
    MetricsFound,
    MonitoringFound,
    QueryMetrics,
)
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.telemetry import TraceFound
from pydantic import BaseModel

from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.purge import Purger, PurgeRequest, PurgeResult
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.system_queries import (
    AlertsQuery,
    AssetMetricsQuery,
    MetricsQuery,
)
from lineshaft_gateway.system_status import (
    TRACE_NOT_FOUND,
    SystemDesk,
    SystemHealth,
    hour_before,
)

TRACE_ID = re.compile(r"^[0-9a-f]{32}$")


class SystemRoutes:
    """Handlers; the monitor decides by the asking tenant what it may see."""

    def __init__(self, desk: SystemDesk, purger: Purger) -> None:
        self._desk = desk
        self._purger = purger

    async def health(self, call: Call) -> web.Response:
        """503 only when this gateway itself cannot work; else 200, whatever the system's state."""
        health, works = await self._desk.health(tenant=call.principal.tenant)
        media_type = {"Content-Type": "application/health+json"}
        return json_answer(health, status=200 if works else 503, headers=media_type)

    async def monitoring(self, call: Call) -> web.Response:
        """Everything that a dashboard shows at first sight."""
        return json_answer(await self._desk.read(GetMonitoring(), tenant=call.principal.tenant))

    async def metrics(self, call: Call) -> web.Response:
        """Read samples of one metric on a grid, or the names of all metrics."""
        query: MetricsQuery = call.query
        tenant = call.principal.tenant
        if query.name is None:
            return json_answer(await self._desk.read(ListMetrics(), tenant=tenant))
        question = QueryMetrics(
            name=query.name,
            labels=dict(label.split("=", 1) for label in query.label),
            since=query.since or hour_before(query.until),
            until=query.until,
            step_seconds=query.step_seconds,
            aggregation=query.aggregation,
        )
        return json_answer(await self._desk.read(question, tenant=tenant))

    async def alerts(self, call: Call) -> web.Response:
        """One page of alerts."""
        query: AlertsQuery = call.query
        question = ListAlerts.model_validate(query.model_dump())
        return json_answer(await self._desk.read(question, tenant=call.principal.tenant))

    async def alert(self, call: Call) -> web.Response:
        """One alert with its history."""
        try:
            alert_id = UUID(call.request.match_info["alert_id"])
        except ValueError:
            raise ProblemError(ALERT_NOT_FOUND) from None
        question = GetAlert(alert_id=alert_id)
        return json_answer(await self._desk.read(question, tenant=call.principal.tenant))

    async def cdn_status(self, call: Call) -> web.Response:
        """How each edge region is doing."""
        return json_answer(await self._desk.read(GetCdnStatus(), tenant=call.principal.tenant))

    async def asset_metrics(self, call: Call) -> web.Response:
        """Read what the edges serve."""
        query: AssetMetricsQuery = call.query
        question = GetAssetMetrics(region=query.region, asset_class=query.asset_class)
        return json_answer(await self._desk.read(question, tenant=call.principal.tenant))

    async def trace(self, call: Call) -> web.Response:
        """All spans of a trace."""
        trace_id = call.request.match_info["trace_id"].lower()
        if not TRACE_ID.match(trace_id):
            raise ProblemError(TRACE_NOT_FOUND)
        return json_answer(await self._desk.trace(trace_id, tenant=call.principal.tenant))

    async def purge(self, call: Call) -> web.Response:
        """200 when every region did it, 202 when some will when they return."""
        request: PurgeRequest = call.body
        result = await self._purger.purge(request)
        return json_answer(result, status=202 if result.missing else 200)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (*self._reads(), self._purge())

    def _reads(self) -> tuple[Operation, ...]:
        rows = (
            ("getHealth", "health", "Health of the system", self.health, SystemHealth),
            (
                "getMonitoring",
                "monitoring",
                "All at first sight",
                self.monitoring,
                MonitoringFound,
            ),
            ("queryMetrics", "metrics", "Stored metrics", self.metrics, MetricsFound),
            ("listAlerts", "alerts", "List alerts", self.alerts, AlertPage),
            ("getAlert", "alerts/{alert_id}", "Read an alert", self.alert, AlertFound),
            (
                "getCdnStatus",
                "cdn-status",
                "State of the regions",
                self.cdn_status,
                CdnStatusFound,
            ),
            (
                "getAssetMetrics",
                "asset-metrics",
                "What the edges serve",
                self.asset_metrics,
                AssetMetricsFound,
            ),
            ("getTrace", "traces/{trace_id}", "Read a trace", self.trace, TraceFound),
        )
        return tuple(
            Operation(
                id=id_,
                method="GET",
                path=f"/api/system/{path}",
                tag="System",
                summary=summary,
                handle=handle,
                scope=Scope.SYSTEM_READ,
                query=QUERIES.get(path),
                parameters=PARAMETERS.get(path, ()),
                answers=ANSWERS.get(path, (Answer(status=200, description=summary, model=model),)),
                problems=PROBLEMS.get(path, {}),
            )
            for id_, path, summary, handle, model in rows
        )

    def _purge(self) -> Operation:
        return Operation(
            id="purgeAssets",
            method="POST",
            path="/api/system/cdn-purges",
            tag="System",
            summary="Purge cached assets in every region",
            handle=self.purge,
            scope=Scope.SYSTEM_WRITE,
            body=PurgeRequest,
            answers=(
                Answer(status=200, description="Every region purged", model=PurgeResult),
                Answer(
                    status=202,
                    description="The missing regions purge when they return",
                    model=PurgeResult,
                ),
            ),
            example={"prefix": "/static/"},
        )


QUERIES: dict[str, type[BaseModel]] = {
    "metrics": MetricsQuery,
    "alerts": AlertsQuery,
    "asset-metrics": AssetMetricsQuery,
}
PARAMETERS = {
    "alerts/{alert_id}": (
        Parameter(
            name="alert_id",
            place="path",
            description="The alert's id.",
            schema={"type": "string", "format": "uuid"},
        ),
    ),
    "traces/{trace_id}": (
        Parameter(
            name="trace_id",
            place="path",
            description="32 hexadecimal digits, as in `X-Request-Id`.",
        ),
    ),
}
ANSWERS = {
    "health": (
        Answer(
            status=200,
            description="The gateway works; `status` tells of the whole system",
            model=SystemHealth,
            media_type="application/health+json",
        ),
        Answer(
            status=503,
            description="This gateway itself cannot work",
            model=SystemHealth,
            media_type="application/health+json",
        ),
    ),
    "metrics": (
        Answer(status=200, description="With a name: its samples", model=MetricsFound),
        Answer(status=200, description="Without a name: all names", model=MetricList),
    ),
}
PROBLEMS = {
    "metrics": {404: "metric_not_found", 422: "invalid_input, range_too_fine"},
    "alerts": {422: "invalid_input, invalid_cursor"},
    "alerts/{alert_id}": {404: "alert_not_found"},
    "traces/{trace_id}": {404: "trace_not_found"},
}
ALERT_NOT_FOUND = Problem(code="alert_not_found", title="There is no such alert", status=404)
