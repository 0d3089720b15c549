"""report.generate: what each template finds out about a plant."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.reports import ReportParameters, ReportTemplate
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.reporting.effectiveness import Effectiveness
from lineshaft_job_runner.types.spc.analysis import analyze
from lineshaft_job_runner.types.spc.measurements import gather
from pydantic import ValidationError

from .report_plant import QUERIES, SPAN, START, plant, report, request

REFERENCES = Path(__file__).resolve().parents[5] / "shared" / "references" / "domain-data"
RINGS = Path(__file__).parent / "data" / "piston_rings.json"


def known_oee() -> dict[str, Any]:
    path = REFERENCES / "oee.json"
    if not path.exists():
        pytest.skip("the reference data is not here")
    return json.loads(path.read_text())["oee"]


def test_the_published_oee_is_found() -> None:
    known = known_oee()
    given = known["inputs"]
    found = Effectiveness.of(
        planned_minutes=given["shift_min"] - given["short_breaks_min"] - given["meal_min"],
        downtime_minutes=given["down_min"],
        ideal_cycle_seconds=given["ideal_cycle_s"],
        produced=given["total_count"],
        good=given["total_count"] - given["reject_count"],
    )
    assert (found.planned, found.run) == (known["planned_production_min"], known["run_min"])
    for name in ("availability", "performance", "quality", "oee"):
        assert getattr(found, name) == pytest.approx(known[name], rel=1e-12)


def test_losses_and_good_time_add_up_to_the_planned_time() -> None:
    parts = [
        Effectiveness.of(
            planned_minutes=420, downtime_minutes=47, ideal_cycle_seconds=1.0,
            produced=19_271, good=18_848,
        ),
        Effectiveness.of(
            planned_minutes=480, downtime_minutes=20, ideal_cycle_seconds=30.0,
            produced=700, good=650,
        ),
    ]  # fmt: skip
    total = Effectiveness.total(parts)
    losses = total.downtime + total.performance_loss + total.quality_loss
    assert losses + total.ideal_good == pytest.approx(900)
    assert total.availability is not None
    assert total.performance is not None
    assert total.quality is not None
    product = total.availability * total.performance * total.quality
    assert total.oee == pytest.approx(product)


async def test_an_oee_report_states_the_figures_by_line_and_the_losses(tmp_path: Path) -> None:
    result = await report(FolderContext(tmp_path, sources=plant()), "oee", format="csv")
    figures = result.figures
    assert [figures[n] for n in ("availability", "performance", "quality", "oee")] == [
        pytest.approx(0.8880952380952), pytest.approx(0.8610813226095),
        pytest.approx(0.9780499195683), pytest.approx(0.7479365079365),
    ]  # fmt: skip
    assert figures["availability_loss_minutes"] == 47
    by_line = (tmp_path / "oee-oee-by-line.csv").read_text().splitlines()
    assert by_line[0].endswith("rework,availability,performance,quality,oee")
    assert [round(float(value), 4) for value in by_line[1].split(",")[-4:]] == [
        0.8881, 0.8611, 0.978, 0.7479,
    ]  # fmt: skip


async def test_a_line_whose_times_cannot_be_is_said_and_not_calculated(tmp_path: Path) -> None:
    rows = [
        ("down too long", Decimal(60), Decimal(61), 1.0, 10, 0, 0),
        ("no cycle time", Decimal(60), Decimal(1), None, 10, 0, 0),
        ("too fast", Decimal(60), Decimal(0), 60.0, 90, 0, 0),
    ]
    context = FolderContext(tmp_path, sources=plant(oee_by_line=rows))
    result = await report(context, "oee", format="csv")
    assert any("down too long, no cycle time: not calculated" in w for w in result.warnings)
    assert any("too fast: performance above 100 %" in w for w in result.warnings)
    assert result.figures["planned_minutes"] == 60
    lines = (tmp_path / "oee-oee-by-line.csv").read_text().splitlines()
    assert lines[1].endswith(",,,,")


async def test_downtime_is_ranked_by_reason(tmp_path: Path) -> None:
    result = await report(FolderContext(tmp_path, sources=plant()), "downtime", format="csv")
    assert result.figures == {
        "events": 3, "minutes": 100.0, "mean_minutes": pytest.approx(100 / 3),
        "longest_minutes": 60.0, "open_events": 1,
    }  # fmt: skip
    reasons = (tmp_path / "downtime-reasons.csv").read_text().splitlines()
    assert reasons[1:] == ["Tool broken,1,60,60,0.6,0.6", "Jam,2,40,20,0.4,1.0"]


async def test_orders_are_counted_late_when_they_finish_after_they_were_due(
    tmp_path: Path,
) -> None:
    context = FolderContext(tmp_path, sources=plant())
    result = await report(context, "production-by-order", format="csv")
    figures = result.figures
    assert [figures[n] for n in ("orders", "finished", "late", "ordered", "good")] == [
        3, 2, 1, 350, 315,
    ]  # fmt: skip
    assert figures["quality_ratio"] == pytest.approx(315 / 326)
    rows = (tmp_path / "production-by-order-production-by-order.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in rows[1:]] == ["0.95", "1.0", "0.5"]


async def test_the_vital_few_defects_make_eighty_percent(tmp_path: Path) -> None:
    result = await report(FolderContext(tmp_path, sources=plant()), "scrap-pareto", format="csv")
    assert result.figures == {
        "scrap": 100, "defects": 3, "vital_defects": 2, "first_defect": "Burr",
    }  # fmt: skip
    defects = (tmp_path / "scrap-pareto-defects.csv").read_text().splitlines()
    assert defects[1:] == ["Burr,70,0.7,0.7", "Crack,20,0.2,0.9", "unknown,10,0.1,1.0"]


async def test_an_spc_sheet_has_the_limits_that_were_published(tmp_path: Path) -> None:
    subgroups: list[list[float]] = json.loads(RINGS.read_text())["subgroups"]
    rows = [(number, value) for number, group in enumerate(subgroups) for value in group]
    spc = {"characteristic": "rings", "phase1_points": 25, "unit": "mm"}
    context = FolderContext(tmp_path, sources=plant(measurements=rows))
    result = await report(context, "spc-sheet", spc=spc, format="html")
    figures = result.figures
    # R, package qcc, of the first 25 samples: see test_spc_numbers.py.
    assert figures["center"] == pytest.approx(74.001176, abs=1e-6)
    assert figures["lower"] == pytest.approx(73.988048, abs=1e-6)
    assert figures["upper"] == pytest.approx(74.014304, abs=1e-6)
    assert figures["stability"] == "out of control"
    assert (
        figures["signals"] == next(t for t in result.tables if t.name == "signals").rows_rendered
    )


@pytest.mark.parametrize(("chart", "group"), [("i-mr", 1), ("xbar-s", 5)])
async def test_other_charts_are_judged_as_by_the_analysis_itself(
    tmp_path: Path, chart: str, group: int
) -> None:
    from lineshaft_contracts.spc import ChartParameters

    values = [value for _, value in QUERIES["measurements"][1]]
    given: dict[str, Any] = {"chart": chart, "values": values}
    if group > 1:
        groups = [values[n : n + group] for n in range(0, len(values), group)]
        given = {"chart": chart, "subgroups": groups}
    context = FolderContext(tmp_path, sources=plant())
    parameters = ChartParameters.model_validate(given)
    analysis = analyze(await gather(context, parameters), parameters)
    spc = {"characteristic": "bore", "chart": chart}
    result = await report(context, "spc-sheet", spc=spc, format="csv")
    assert result.figures["sigma_within"] == analysis.sigma_within
    assert result.figures["signals"] == len(analysis.signals)


async def test_measurements_that_make_no_chart_are_an_error(tmp_path: Path) -> None:
    rows = [(1, 0.5)] * 30
    context = FolderContext(tmp_path, sources=plant(measurements=rows))
    with pytest.raises(PermanentError) as raised:
        await report(context, "spc-sheet")
    assert raised.value.code == "measurements_unfit"


@pytest.mark.parametrize("template", list(ReportTemplate))
async def test_a_time_without_data_gives_a_report_that_says_so(
    tmp_path: Path, template: ReportTemplate
) -> None:
    nothing: dict[str, Any] = {name: [] for name in QUERIES}
    context = FolderContext(tmp_path, sources=plant(**nothing))
    result = await report(context, template, formats=["pdf", "html", "xlsx", "csv"])
    assert result.empty
    assert result.pages == 1
    assert '<p class="note">' in (tmp_path / f"{template}.html").read_text()


async def test_a_number_that_is_none_is_an_error_with_advice(tmp_path: Path) -> None:
    rows = [("line-1", "press-1", "Jam", START, None, Decimal("NaN"))]
    context = FolderContext(tmp_path, sources=plant(downtime_events=rows))
    with pytest.raises(PermanentError, match="NULL") as raised:
        await report(context, "downtime")
    assert raised.value.code == "value_unfit"


async def test_a_column_of_another_type_is_an_error_with_advice(tmp_path: Path) -> None:
    columns, rows = QUERIES["downtime_events"]
    wrong = Table(columns={**columns, "minutes": ColumnType.TEXT}, rows=rows, parameters=SPAN)
    context = FolderContext(tmp_path, sources={"mes": TableSource({"downtime_events": wrong})})
    with pytest.raises(PermanentError, match="decimal or double or integer") as raised:
        await report(context, "downtime")
    assert raised.value.code == "report_column_unfit"


@pytest.mark.parametrize(
    "wrong",
    [
        {"template": "oee", "shift_start": None},
        {"template": "oee", "shift_end": "2028-01-01T00:00:00Z"},
        {"template": "oee", "spc": {"characteristic": "bore"}},
        {"template": "spc-sheet", "spc": None},
        {"template": "spc-sheet", "shift_start": START.isoformat()},
        {"template": "oee", "formats": ["pdf", "pdf"]},
        {"template": "oee", "format": "docx"},
    ],
    ids=str,
)
def test_parameters_that_do_not_fit_the_template_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ReportParameters.model_validate(request(wrong["template"]) | wrong)
