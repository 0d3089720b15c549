"""Every report on the tables of the plant, and the one of the demonstration as it checks it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from lineshaft_cli.demo import reports
from lineshaft_contracts.reports import ReportParameters, ReportTemplate
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.report_generate import ReportGenerate
from plant.calendar import past_shifts
from plant.store import connect

pytestmark = pytest.mark.integration

SOURCES = Path(__file__).parents[4] / "examples" / "plant" / "sources.yaml"
SHIFTS = past_shifts(datetime(2026, 11, 25, 12, tzinfo=UTC))
SPAN = {
    "started_at": SHIFTS[-1].start.isoformat(),
    "finished_at": SHIFTS[-1].end.isoformat(),
}


async def test_the_plant_has_what_every_template_needs(postgres_url: str, tmp_path: Path) -> None:
    async with connect(postgres_url) as store:
        await store.seed(SHIFTS)
    file, environment = SourcesFile.load(SOURCES), {"PLANT_POSTGRES_URL": postgres_url}
    async with open_source(file, "mes", tenant="acme", environment=environment) as source:
        context = FolderContext(tmp_path, sources={"mes": source})
        parameters = ReportParameters.model_validate(reports.submission(SPAN))
        result = await ReportGenerate().run(context, parameters)
        job = {"result": result.model_dump(mode="json")}
        paths = [tmp_path / artifact["name"] for artifact in job["result"]["artifacts"]]
        assert "of 3 lines" in reports.check(job, paths)
        assert not result.warnings
        for template in set(ReportTemplate) - {ReportTemplate.OEE}:
            given = _parameters(template)
            result = await ReportGenerate().run(context, ReportParameters.model_validate(given))
            assert not result.empty
            assert {t.rows_rendered - t.rows_expected for t in result.tables} == {0}


def _parameters(template: ReportTemplate) -> dict[str, Any]:
    given: dict[str, Any] = {"template": template, "source": "mes", "format": "html"}
    if template is ReportTemplate.SPC_SHEET:
        return given | {"spc": {"characteristic": "piston-ring-diameter", "phase1_points": 25}}
    return given | {"shift_start": SPAN["started_at"], "shift_end": SPAN["finished_at"]}
