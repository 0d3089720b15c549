"""The goods receipt of the demonstration, on the tables of the plant."""

from pathlib import Path

import asyncpg
import pytest
from lineshaft_cli.demo.jobs import LOTS, check_batch, submissions
from lineshaft_contracts.batches import BatchParameters
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply

pytestmark = pytest.mark.integration

PLANT = Path(__file__).parents[4] / "examples" / "plant"


async def test_the_demos_batch_is_what_its_check_expects_also_the_second_time(
    postgres_url: str, tmp_path: Path
) -> None:
    shift = {"started_at": "2026-11-24T05:00:00Z", "finished_at": "2026-11-24T13:00:00Z"}
    parameters = BatchParameters.model_validate(submissions(shift)["batch.apply"])
    example = BatchParameters.model_validate(BatchApply.example)
    file = SourcesFile.load(PLANT / "sources.yaml")
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute((PLANT / "src" / "plant" / "schema.sql").read_text())
        environment = {"PLANT_POSTGRES_URL": postgres_url}
        for _ in range(2):
            async with open_target(file, "mes", tenant="acme", environment=environment) as target:
                context = FolderContext(tmp_path, targets={"mes": target})
                result = await BatchApply().run(context, parameters)
                shown = await BatchApply().run(context, example)
            job = {"result": result.model_dump(mode="json")}
            assert "200 lots booked" in check_batch(job, [tmp_path / "goods-receipt.csv"])
            assert (shown.inserted, shown.applied) == (2, False)
        assert await connection.fetchval("SELECT count(*) FROM lots") == LOTS
        assert await connection.fetchval("SELECT count(*) FROM stock") == 0
    finally:
        await connection.close()
