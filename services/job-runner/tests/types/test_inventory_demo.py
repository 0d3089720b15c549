"""inventory.sync on the demo's plant: deliveries that only its ERP knows are booked once."""

from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import pytest
from lineshaft_cli.demo import stocks
from lineshaft_contracts.inventory_sync import Decision, InventorySyncParameters
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.types.inventory_sync import InventorySync
from plant.calendar import past_shifts
from plant.store import connect

from .inventory_plant import PlantContext

pytestmark = pytest.mark.integration

PLANT = Path(__file__).parents[4] / "examples" / "plant"


async def test_the_demo_books_each_delivery_once(postgres_url: str, tmp_path: Path) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(datetime.now(UTC)))
    file = SourcesFile.load(PLANT / "sources.yaml")
    parameters = InventorySyncParameters.model_validate(stocks.submission())
    for booked in (12, 0):
        context = PlantContext(tmp_path, file, postgres_url)
        context.job_id = f"00000000-0000-7000-8000-{booked:012}"
        result = await InventorySync().run(context, parameters)
        assert result.decisions.get(Decision.SOURCE_WON, 0) == booked
        job = {"result": result.model_dump(mode="json")}
        files = [tmp_path / artifact.name for artifact in result.artifacts]
        assert f"{booked} deliveries booked" in stocks.check(job, files)
    connection = await asyncpg.connect(postgres_url)
    differ = (
        "SELECT count(*) FROM stock JOIN erp_stock ON article = material "
        "WHERE on_hand <> quantity * CASE unit WHEN 'pack10' THEN 10 ELSE 1 END"
    )
    assert await connection.fetchval(differ) == 0
    await connection.close()


async def test_the_example_of_the_type_runs_on_the_demo(postgres_url: str, tmp_path: Path) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(datetime.now(UTC)))
    file = SourcesFile.load(PLANT / "sources.yaml")
    parameters = InventorySyncParameters.model_validate(InventorySync.example)
    result = await InventorySync().run(PlantContext(tmp_path, file, postgres_url), parameters)
    assert (result.counts.requested, result.counts.failed, result.applied) == (60, 0, 0)
