"""quality.analyze: from rows of a source, or values, to a judgement and its artifacts."""

import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lineshaft_contracts.quality_analysis import QualityParameters
from lineshaft_contracts.spc import ChartResult
from lineshaft_job_runner.job_type import ColumnType, JobStoppedError, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.quality_analyze import QualityAnalyze
from pydantic import ValidationError

RINGS: list[list[float]] = json.loads(
    (Path(__file__).parent / "data" / "piston_rings.json").read_text(encoding="utf-8")
)["subgroups"]
COLUMNS = {
    "subgroup": ColumnType.INTEGER,
    "sequence": ColumnType.INTEGER,
    "value": ColumnType.DOUBLE,
    "trial": ColumnType.BOOLEAN,
}
ROWS: list[tuple[int, int, float | None, bool]] = [
    (group, sequence, value, group <= 25)
    for group, values in enumerate(RINGS, start=1)
    for sequence, value in enumerate(values, start=1)
]


def plant(rows: list[tuple[Any, ...]], **table: Any) -> dict[str, TableSource]:
    measurements = Table(
        columns=COLUMNS, rows=rows, parameters={"characteristic": ColumnType.TEXT}, **table
    )
    return {"mes": TableSource({"measurements": measurements}, batch_rows=7)}


async def analyze(context: FolderContext, **parameters: Any) -> ChartResult:
    result = await QualityAnalyze().run(context, QualityParameters.model_validate(parameters))
    assert isinstance(result.root, ChartResult)
    return result.root


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def quiet(count: int) -> list[float]:
    """Single values without any signal: a known seed, drawn towards the centre."""
    return np.random.default_rng(5).uniform(9, 11, count).tolist()


async def test_the_example_finds_the_rings_that_left_the_frozen_limits(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(ROWS))
    result = await analyze(context, **QualityAnalyze.example)
    assert result.stability == "out_of_control"
    assert result.points_phase1 == 25
    assert (result.counts.requested, result.counts.ok) == (40, 40)
    assert result.location is not None
    assert result.location.upper == pytest.approx(74.01430440804378, abs=1e-10)
    beyond = [signal.point for signal in result.signals if signal.rule == "nelson-1"]
    assert beyond == [37, 38, 39]
    assert result.capability is not None
    assert result.capability.verdict == "process_unstable"
    assert result.capability.cp is not None
    assert result.capability.cp.value == pytest.approx(1.70323, abs=1e-5)


async def test_artifacts_hold_every_point_and_a_chart(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(ROWS))
    result = await analyze(context, **{**QualityAnalyze.example, "title": "Ring $d$ <mm>"})
    document = json.loads((tmp_path / "control-chart.json").read_text(encoding="utf-8"))
    assert len(document["location"]) == 40
    assert len(document["signals"]) == result.signal_count
    assert document["phase1"] == list(range(1, 26))
    chart = ET.fromstring((tmp_path / "control-chart.svg").read_text(encoding="utf-8"))  # noqa: S314
    text = " ".join(chart.itertext())
    assert "Ring $d$ <mm>: out of control" in text
    assert "UCL 74.0143" in text
    assert [artifact.name for artifact in result.artifacts] == [
        "control-chart.json",
        "control-chart.svg",
    ]


async def test_a_retry_makes_the_same_artifacts(tmp_path: Path) -> None:
    digests: list[list[str]] = []
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        context = FolderContext(tmp_path / name, sources=plant(ROWS))
        result = await analyze(context, **QualityAnalyze.example)
        digests.append([result.input_digest, *(item.sha256 for item in result.artifacts)])
    assert digests[0] == digests[1]


async def test_a_quiet_process_is_in_control_and_capable(tmp_path: Path) -> None:
    result = await analyze(
        FolderContext(tmp_path),
        chart="i-mr",
        values=quiet(60),
        rules=["nelson-1", "nelson-2"],
        specification={"lower": 0, "upper": 20},
    )
    assert result.stability == "in_control", result.reason
    assert result.capability is not None
    assert result.capability.verdict == "capable"


async def test_few_points_are_insufficient_data_and_not_in_control(tmp_path: Path) -> None:
    flow = [49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1]
    result = await analyze(
        FolderContext(tmp_path), chart="i-mr", values=flow, specification={"lower": 0, "upper": 99}
    )
    assert result.stability == "insufficient_data"
    assert result.capability is not None
    assert result.capability.verdict == "insufficient_data"
    assert result.location is not None
    assert result.location.center == pytest.approx(50.81)


async def test_missing_values_are_insufficient_data_unless_allowed(tmp_path: Path) -> None:
    values: list[float | None] = [*quiet(60)]
    values[10] = None
    given: dict[str, Any] = {"chart": "i-mr", "values": values, "rules": ["nelson-1"]}
    result = await analyze(FolderContext(tmp_path), **given)
    assert result.stability == "insufficient_data"
    assert (result.counts.requested, result.counts.ok, result.counts.skipped) == (60, 59, 1)
    assert result.warnings == ("1 points are left out because a value is missing",)
    result = await analyze(FolderContext(tmp_path), **given, missing_ratio_max=0.05)
    assert result.stability == "in_control"


async def test_a_subgroup_of_another_size_is_left_out_and_said(tmp_path: Path) -> None:
    result = await analyze(
        FolderContext(tmp_path), chart="xbar-r", subgroups=[*RINGS[:25], [74.0, 74.1]]
    )
    assert result.counts.skipped == 1
    assert result.stability == "insufficient_data"
    assert result.warnings == ("1 subgroups of another size are left out",)


@pytest.mark.parametrize("values", [[], [5.0], [5.0] * 30, [None] * 30], ids=str)
async def test_nothing_to_judge_is_insufficient_data(tmp_path: Path, values: list[Any]) -> None:
    rows = [(1, 1, value, True) for value in values]
    query = {**QualityAnalyze.example["measurements"]}
    context = FolderContext(tmp_path, sources=plant(rows))
    result = await analyze(context, chart="i-mr", measurements=query)
    assert result.stability == "insufficient_data"
    assert result.location is None
    json.loads((tmp_path / "control-chart.json").read_text(encoding="utf-8"))


async def test_an_excluded_point_is_drawn_but_not_estimated_from(tmp_path: Path) -> None:
    values = [*quiet(30), 99.0, *quiet(30)]
    given: dict[str, Any] = {"chart": "i-mr", "values": values, "rules": ["nelson-1"]}
    alarmed = await analyze(FolderContext(tmp_path), **given)
    assert alarmed.stability == "out_of_control"
    explained = await analyze(FolderContext(tmp_path), **given, excluded_points=[31])
    assert explained.location is not None
    assert explained.location.upper < 20
    assert 31 in {signal.point for signal in explained.signals}


async def test_a_subgroup_in_two_places_is_refused(tmp_path: Path) -> None:
    rows = [(1, 1, 1.0, True), (2, 1, 1.0, True), (1, 2, 1.0, True)]
    with pytest.raises(PermanentError, match="ordered") as raised:
        await analyze(FolderContext(tmp_path, sources=plant(rows)), **QualityAnalyze.example)
    assert raised.value.code == "measurements_unordered"


async def test_fewer_rows_than_counted_fail_the_job(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(ROWS, counted=201))
    with pytest.raises(PermanentError, match="counted 201 rows but gave 200"):
        await analyze(context, **QualityAnalyze.example)


async def test_a_cancelled_job_stops_between_batches(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(ROWS), cancel_after=3)
    with pytest.raises(JobStoppedError):
        await analyze(context, **QualityAnalyze.example)
    assert len(context.progressed) == 3
    assert names_in(tmp_path) == []


async def test_a_dry_run_makes_no_artifact(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=plant(ROWS))
    result = await analyze(context, **QualityAnalyze.example, dry_run=True)
    assert result.artifacts == ()
    assert result.signal_count > 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"chart": "i-mr"},
        {"chart": "i-mr", "subgroups": [[1, 2]]},
        {"chart": "xbar-r", "values": [1, 2]},
        {"chart": "i-mr", "values": [float("nan")]},
        {"chart": "i-mr", "values": [1.0], "specification": {}},
        {"chart": "i-mr", "values": [1.0], "specification": {"lower": 2, "upper": 1}},
        {"chart": "i-mr", "values": [1.0], "typo": 1},
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QualityParameters.model_validate(wrong)
