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
from lineshaft_contracts.envelope import Envelope
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
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.telemetry import GetTrace, SpanView, TraceFound

from lineshaft_monitor.alert_keeper import AlertKeeper
from lineshaft_monitor.intake import Clock, utc_now
from lineshaft_monitor.spans import SpanBuffer


class MetricArchive(Protocol):
    """Where samples are read."""

    async def metrics(self, prefix: str) -> list[MetricInfo]:
        """List the metrics."""
        ...

    async def query(
        self, query: QueryMetrics, until: datetime, steps: int
    ) -> list[MetricSeries] | None:
        """Aggregate on the grid; None when the metric is not known."""
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
        return MetricList(metrics=tuple(await self._metrics.metrics(question.data.prefix)))

    async def query_metrics(self, question: Envelope[QueryMetrics]) -> MetricsFound:
        """Answer QueryMetrics."""
        asked = question.data
        until = asked.until or self._clock()
        step = timedelta(seconds=asked.step_seconds)
        steps = math.ceil((until - asked.since) / step)
        if not 1 <= steps <= POINTS_MAX:
            raise ProblemError(
                Problem(
                    code="range_too_fine",
                    title="The range and the step do not fit",
                    detail=f"They make {max(0, steps)} points; between 1 and {POINTS_MAX} work",
                    status=422,
                )
            )
        series = await self._metrics.query(asked, until, steps)
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
