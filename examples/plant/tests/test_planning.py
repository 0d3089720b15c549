"""The planner's tables on a real PostgreSQL, and the schedule that a job makes of them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.scheduling import ScheduleParameters
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.production_schedule import ProductionSchedule
from plant.calendar import past_shifts
from plant.store import PLANNED_ORDERS, connect

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
SOURCES = Path(__file__).parents[1] / "sources.yaml"


async def test_all_planned_orders_are_scheduled(postgres_url: str, tmp_path: Path) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(NOW))
    file, environment = SourcesFile.load(SOURCES), {"PLANT_POSTGRES_URL": postgres_url}
    async with open_source(file, "mes", tenant="acme", environment=environment) as source:
        sources: Any = {"mes": source}
        context = FolderContext(tmp_path, sources=sources)
        example = {**ProductionSchedule.example, "horizon_start": NOW, "solve_seconds_max": 3}
        result = await ProductionSchedule().run(
            context, ScheduleParameters.model_validate(example)
        )
    assert result.status in {"optimal", "feasible"}
    assert result.counts.ok == PLANNED_ORDERS
    assert result.operations == 2 * PLANNED_ORDERS
    tardiness = result.objectives[0]
    assert tardiness.dispatched is not None
    assert tardiness.bound <= tardiness.value <= tardiness.dispatched
    assert 0 < len(result.utilisation) <= 10
