"""Answers from the database: stored metrics, alerts and traces."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from lineshaft_contracts.alerts import (
    AlertChange,
    AlertFound,
    AlertPage,
    AlertView,
    GetAlert,
    ListAlerts,
)
from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope
from lineshaft_contracts.monitoring import (
    POINTS_MAX,
    SERIES_MAX,
    ListMetrics,
    MetricInfo,
    MetricList,
    MetricSeries,
    MetricsFound,
    QueryMetrics,
)
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.telemetry import GetTrace, SpanView, TraceFound

from lineshaft_monitor.alert_keeper import AlertKeeper
from lineshaft_monitor.intake import Clock, utc_now
from lineshaft_monitor.spans import SpanBuffer

STEP_MIN = timedelta(seconds=1)
REACH = timedelta(days=3_660)
"""Before and after now; nothing is kept for so long, and no clock is so wrong."""


class MetricArchive(Protocol):
    """Where samples are read."""

    async def metrics(self, prefix: str, *, tenant: str | None) -> list[MetricInfo]:
        """List the metrics that have series a tenant may see; None may see all."""
        ...

    async def query(
        self, query: QueryMetrics, until: datetime, steps: int, *, tenant: str | None
    ) -> list[MetricSeries] | None:
        """Aggregate what a tenant may see on the grid; None when the metric is not known."""
        ...


class AlertArchive(Protocol):
    """Where alerts are read."""

    async def page(
        self, query: ListAlerts, tenant: str, *, before: UUID | None
    ) -> list[AlertView]:
        """List newest first, one more than the limit."""
        ...

    async def find(
        self, alert_id: UUID, tenant: str
    ) -> tuple[AlertView, tuple[AlertChange, ...]] | None:
        """Return one alert with its history."""
        ...


class TraceArchive(Protocol):
    """Where spans are read."""

    async def of_trace(self, trace_id: bytes) -> Sequence[SpanView]:
        """Return the spans of a trace in start order."""
        ...


class Archive:
    """Answers what has to be read from the database."""

    def __init__(
        self,
        *,
        metrics: MetricArchive,
        alerts: AlertArchive,
        traces: TraceArchive,
        keeper: AlertKeeper,
        spans: SpanBuffer,
        clock: Clock = utc_now,
    ) -> None:
        self._metrics = metrics
        self._alerts = alerts
        self._traces = traces
        self._keeper = keeper
        self._spans = spans
        self._clock = clock

    async def list_metrics(self, question: Envelope[ListMetrics]) -> MetricList:
        """Answer ListMetrics."""
        prefix = question.data.prefix
        _refuse_nul("/prefix", prefix)
        found = await self._metrics.metrics(prefix, tenant=_only(question.tenant))
        return MetricList(metrics=tuple(found))

    async def query_metrics(self, question: Envelope[QueryMetrics]) -> MetricsFound:
        """Answer QueryMetrics."""
        asked = question.data
        _refuse_nul("/labels", *asked.labels, *asked.labels.values())
        now = self._clock()
        until = asked.until or now
        step = timedelta(seconds=asked.step_seconds)
        steps = _steps(asked.since, until, step, now)
        series = await self._metrics.query(asked, until, steps, tenant=_only(question.tenant))
        if series is None:
            raise ProblemError(
                Problem(
                    code="metric_not_found",
                    title="Nothing was ever collected under this name",
                    status=404,
                )
            )
        return MetricsFound(
            name=asked.name,
            aggregation=asked.aggregation,
            step_seconds=asked.step_seconds,
            times=tuple(asked.since + step * number for number in range(steps)),
            series=tuple(series[:SERIES_MAX]),
            truncated=len(series) > SERIES_MAX,
        )

    async def list_alerts(self, question: Envelope[ListAlerts]) -> AlertPage:
        """Answer ListAlerts."""
        asked = question.data
        try:
            before = None if asked.cursor is None else UUID(asked.cursor)
        except ValueError:
            raise ProblemError(
                Problem(code="invalid_cursor", title="No page gave this cursor", status=422)
            ) from None
        alerts = await self._alerts.page(asked, question.tenant, before=before)
        page = alerts[: asked.limit]
        return AlertPage(
            alerts=tuple(page),
            firing=self._keeper.firing(question.tenant),
            next_cursor=str(page[-1].id) if len(alerts) > asked.limit else None,
        )

    async def get_alert(self, question: Envelope[GetAlert]) -> AlertFound:
        """Answer GetAlert."""
        found = await self._alerts.find(question.data.alert_id, question.tenant)
        if found is None:
            raise ProblemError(
                Problem(code="alert_not_found", title="There is no such alert", status=404)
            )
        return AlertFound(alert=found[0], history=found[1])

    async def get_trace(self, question: Envelope[GetTrace]) -> TraceFound:
        """Answer GetTrace."""
        trace_id = question.data.trace_id.lower()
        spans: Sequence[SpanView] = ()
        if len(trace_id) == 32 and set(trace_id) <= set("0123456789abcdef"):
            await self._spans.flush()
            spans = await self._traces.of_trace(bytes.fromhex(trace_id))
        if not spans:
            raise ProblemError(
                Problem(code="trace_not_found", title="No spans of it are kept", status=404)
            )
        return TraceFound(trace_id=trace_id, spans=tuple(spans))


def _only(tenant: str) -> str | None:
    """Return whose series are shown besides those of nobody; None for everybody's."""
    return None if tenant == PLATFORM_TENANT else tenant


def _steps(since: datetime, until: datetime, step: timedelta, now: datetime) -> int:
    """Count the points of a grid, or refuse it."""
    if abs(since - now) > REACH or abs(until - now) > REACH:
        raise ProblemError(
            Problem(
                code="range_out_of_reach",
                title="No samples can be that old or that new",
                detail=f"`since` and `until` have to be within {REACH.days} days from now",
                status=422,
            )
        )
    if step < STEP_MIN:
        raise ProblemError(
            Problem(
                code="range_too_fine",
                title="The step is too short",
                detail="A step is a second at least",
                status=422,
            )
        )
    steps = math.ceil((until - since) / step)
    if not 1 <= steps <= POINTS_MAX:
        raise ProblemError(
            Problem(
                code="range_too_fine",
                title="The range and the step do not fit",
                detail=f"They make {max(0, steps)} points; between 1 and {POINTS_MAX} work",
                status=422,
            )
        )
    return steps


def _refuse_nul(pointer: str, *texts: str) -> None:
    """Refuse text that PostgreSQL does not take."""
    if any("\x00" in text for text in texts):
        message = "must not contain NUL"
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The input is not valid",
                detail=f"{pointer} {message}",
                status=422,
                errors=(FieldProblem(pointer=pointer, code="nul", message=message),),
            )
        )
