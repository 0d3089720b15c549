"""Questions about stored metrics: whose series are shown, and which questions are refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from lineshaft_contracts.envelope import PLATFORM_TENANT, Message, envelop
from lineshaft_contracts.monitoring import (
    ListMetrics,
    MetricInfo,
    MetricSeries,
    QueryMetrics,
)
from lineshaft_contracts.problems import ProblemError
from lineshaft_monitor.alert_keeper import AlertKeeper
from lineshaft_monitor.archive import Archive
from lineshaft_monitor.spans import SpanBuffer

from .memory_alert_store import MemoryAlertStore

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


class MemoryMetrics:
    """Remembers for whom it was asked."""

    def __init__(self) -> None:
        self.tenants: list[str | None] = []

    async def metrics(self, prefix: str, *, tenant: str | None) -> list[MetricInfo]:
        self.tenants.append(tenant)
        return [MetricInfo(name=f"{prefix}a", series=1, label_names=())]

    async def query(
        self, query: QueryMetrics, until: datetime, steps: int, *, tenant: str | None
    ) -> list[MetricSeries]:
        del query, until
        self.tenants.append(tenant)
        return [MetricSeries(labels={}, values=(1.0,) * steps)]


@pytest.fixture
def metrics() -> MemoryMetrics:
    return MemoryMetrics()


@pytest.fixture
def archive(metrics: MemoryMetrics) -> Archive:
    nothing: Any = None
    return Archive(
        metrics=metrics,
        alerts=nothing,
        traces=nothing,
        keeper=AlertKeeper(MemoryAlertStore(), (), gap_max_seconds=75),
        spans=SpanBuffer(nothing),
        clock=lambda: NOW,
    )


def asked(question: Message, tenant: str = "acme") -> Any:
    return envelop(question, source="/test", tenant=tenant)


def hour(**changes: Any) -> QueryMetrics:
    return QueryMetrics.model_validate(
        {"name": "units", "since": NOW - timedelta(hours=1), **changes}
    )


async def test_a_tenant_is_shown_its_own_series_and_the_platform_all(
    archive: Archive, metrics: MemoryMetrics
) -> None:
    for tenant in ("acme", PLATFORM_TENANT):
        found = await archive.query_metrics(asked(hour(), tenant))
        assert len(found.times) == 60
        await archive.list_metrics(asked(ListMetrics(), tenant))
    assert metrics.tenants == ["acme", "acme", None, None]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"since": datetime.min.replace(tzinfo=UTC)}, "range_out_of_reach"),
        ({"until": datetime.max.replace(tzinfo=UTC)}, "range_out_of_reach"),
        ({"since": datetime.max.replace(tzinfo=UTC)}, "range_out_of_reach"),
        ({"since": NOW + timedelta(hours=1)}, "range_too_fine"),
        ({"step_seconds": 1}, "range_too_fine"),
        ({"step_seconds": 0.99, "since": NOW - timedelta(minutes=1)}, "range_too_fine"),
        ({"step_seconds": 1e-9, "since": NOW - timedelta(minutes=1)}, "range_too_fine"),
        ({"labels": {"queue": "a\x00"}}, "invalid_input"),
        ({"labels": {"\x00": "a"}}, "invalid_input"),
    ],
)
async def test_a_question_that_cannot_be_answered_is_a_problem(
    archive: Archive, changes: dict[str, Any], code: str
) -> None:
    with pytest.raises(ProblemError) as caught:
        await archive.query_metrics(asked(hour(**changes)))
    assert (caught.value.problem.code, caught.value.problem.status) == (code, 422)


async def test_a_prefix_with_nul_is_a_problem(archive: Archive) -> None:
    with pytest.raises(ProblemError, match="NUL"):
        await archive.list_metrics(asked(ListMetrics(prefix="\x00")))
