"""Charts for attributes, EWMA and CUSUM agree with R's qcc and the NIST/SEMATECH handbook."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.quality_analysis import QualityParameters
from lineshaft_contracts.spc import ChartKind, ChartResult
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.quality_analyze import QualityAnalyze
from lineshaft_job_runner.types.spc import attributes, cumulative
from lineshaft_job_runner.types.spc.constants import d2
from pydantic import ValidationError

DATA = Path(__file__).parent / "data"
QCC = json.loads((DATA / "expected_qcc.json").read_text(encoding="utf-8"))
RINGS: list[list[float]] = json.loads((DATA / "piston_rings.json").read_text(encoding="utf-8"))[
    "subgroups"
]
TABLED = 1e-7
"""qcc 2.7 rounds d2(5) to 2.326: limits differ by 3e-5 of a distance of 0.0044."""

NIST_EWMA = [
    52.0, 47.0, 53.0, 49.3, 50.1, 47.0, 51.0, 50.1, 51.2, 50.5,
    49.6, 47.6, 49.9, 51.3, 47.8, 51.2, 52.6, 52.4, 53.6, 52.1,
]  # fmt: skip
NIST_EWMA_Z = [
    50.6, 49.52, 50.56, 50.18, 50.16, 49.21, 49.75, 49.85, 50.26, 50.33,
    50.11, 49.36, 49.52, 50.05, 49.38, 49.92, 50.73, 51.23, 51.94, 51.99,
]  # fmt: skip
NIST_CUSUM = [
    324.925, 324.675, 324.725, 324.35, 325.35, 325.225, 324.125, 324.525, 325.225, 324.6,
    324.625, 325.15, 328.325, 327.25, 327.825, 328.5, 326.675, 327.775, 326.875, 328.35,
]  # fmt: skip


async def analyze(folder: Path, **parameters: Any) -> ChartResult:
    given = QualityParameters.model_validate(parameters)
    result = await QualityAnalyze().run(FolderContext(folder), given)
    assert isinstance(result.root, ChartResult)
    return result.root


def document_of(folder: Path) -> Any:
    return json.loads((folder / "control-chart.json").read_text(encoding="utf-8"))


def orange_juice(part: str = "trial") -> list[int]:
    return json.loads((DATA / "orange_juice.json").read_text(encoding="utf-8"))[part]


async def test_fraction_nonconforming_of_the_orange_juice(tmp_path: Path) -> None:
    expected = QCC["orangejuice_trial_30x50_p"]
    result = await analyze(
        tmp_path, chart="p", values=orange_juice(), sizes=[50], rules=["nelson-1"]
    )
    assert result.location is not None
    assert result.location.center == pytest.approx(expected["pbar"], abs=1e-12)
    assert result.location.lower == pytest.approx(expected["lcl"], abs=1e-12)
    assert result.location.upper == pytest.approx(expected["ucl"], abs=1e-12)
    assert [signal.point for signal in result.signals] == expected["beyond"]
    assert (result.dispersion, result.capability, result.sigma_within) == (None, None, None)


async def test_revised_limits_leave_out_the_two_explained_samples(tmp_path: Path) -> None:
    expected = QCC["orangejuice_revised_drop_15_23_p"]
    given: dict[str, Any] = {
        "values": orange_juice(), "sizes": [50], "excluded_points": [15, 23],
        "rules": ["nelson-1"],
    }  # fmt: skip
    result = await analyze(tmp_path, chart="p", **given)
    assert result.location is not None
    assert result.location.center == pytest.approx(expected["pbar"], abs=1e-12)
    assert result.location.lower == pytest.approx(expected["lcl"], abs=1e-12)
    assert result.location.upper == pytest.approx(expected["ucl"], abs=1e-12)
    counts = await analyze(tmp_path, chart="np", **given)
    assert counts.location is not None
    assert counts.location.center == pytest.approx(expected["np_center"], abs=1e-11)
    assert counts.location.lower == pytest.approx(expected["np_lcl"], abs=1e-10)
    assert counts.location.upper == pytest.approx(expected["np_ucl"], abs=1e-10)


async def test_limits_are_frozen_after_phase_one(tmp_path: Path) -> None:
    trial, later = orange_juice(), orange_juice("later")
    both = await analyze(
        tmp_path, chart="p", values=[*trial, *later], sizes=[50], phase1_points=len(trial)
    )
    assert both.location is not None
    assert both.location.center == pytest.approx(0.231333333333, abs=1e-12)
    assert both.points_phase1 == len(trial)


async def test_counts_of_the_nist_handbook(tmp_path: Path) -> None:
    # 6.3.3.1: 400 defects on 25 wafers; any 25 counts with that sum have the same limits.
    result = await analyze(tmp_path, chart="c", values=[12, 20, 16, 15, 17] * 5)
    assert result.location is not None
    assert (result.location.center, result.location.lower, result.location.upper) == (16, 4, 28)


async def test_samples_of_different_sizes_have_limits_of_their_own(tmp_path: Path) -> None:
    generator = np.random.default_rng(2)
    sizes = generator.integers(20, 200, 40)
    counts = generator.binomial(sizes, 0.1)
    result = await analyze(
        tmp_path, chart="p", values=counts.tolist(), sizes=sizes.tolist(), rules=["nelson-1"]
    )
    mean = counts.sum() / sizes.sum()
    found = document_of(tmp_path)["limits"]["location"]
    for number, size in enumerate(sizes.tolist()):
        reach = 3 * (mean * (1 - mean) / size) ** 0.5
        assert found["upper"][number] == pytest.approx(min(1, mean + reach), abs=1e-12)
        assert found["lower"][number] == pytest.approx(max(0, mean - reach), abs=1e-12)
    assert result.location is not None
    assert result.location.varying
    assert result.location.upper == pytest.approx(found["upper"][-1])


@given(
    kind=st.sampled_from([ChartKind.P, ChartKind.NP, ChartKind.C, ChartKind.U]),
    counts=st.lists(st.integers(0, 10), min_size=2, max_size=30),
    size=st.integers(10, 50),
)
@settings(max_examples=100, deadline=None)
def test_attribute_limits_equal_their_definition(
    kind: ChartKind, counts: list[int], size: int
) -> None:
    area = 1.0 if kind is ChartKind.C else float(size)
    values = np.array(counts, dtype=np.float64)
    every = np.ones(values.size, dtype=bool)
    found = attributes.chart(values, np.full(values.size, area), kind, every)
    mean = sum(counts) / (area * len(counts))
    of_units = kind in {ChartKind.P, ChartKind.NP}
    if mean == 0 or (of_units and mean >= 1):
        assert found.z is None
        return
    variance = mean * (1 - mean) / area if of_units else mean / area
    factor = area if kind is ChartKind.NP else 1.0
    lower, upper = ((mean + side * 3 * variance**0.5) * factor for side in (-1, 1))
    most = factor if of_units else float("inf")
    assert found.panel.center == pytest.approx(mean * factor)
    assert found.panel.lower == pytest.approx(max(0.0, lower))
    assert found.panel.upper == pytest.approx(min(most, upper))
    assert found.z is not None
    plotted = values if kind in {ChartKind.NP, ChartKind.C} else values / area
    outside = (plotted > upper + 1e-9) | (plotted < lower - 1e-9)
    assert (np.abs(found.z) > 3)[outside].all()


@pytest.mark.parametrize("values", [[0] * 30, [50] * 30, [None] * 30], ids=["none", "all", "null"])
async def test_counts_without_any_variation_are_insufficient_data(
    tmp_path: Path, values: list[Any]
) -> None:
    result = await analyze(tmp_path, chart="p", values=values, sizes=[50])
    assert (result.stability, result.location) == ("insufficient_data", None)


async def test_a_count_or_a_size_that_is_missing_is_no_point(tmp_path: Path) -> None:
    values: list[int | None] = [*([5, 6, 4, 7, 5, 3] * 5)]
    sizes: list[float | None] = [50.0] * 30
    values[3], sizes[8] = None, None
    result = await analyze(tmp_path, chart="u", values=values, sizes=sizes, rules=["nelson-1"])
    assert (result.stability, result.counts.skipped) == ("insufficient_data", 2)
    document = document_of(tmp_path)
    assert document["location"][3] is document["location"][8] is None


@pytest.mark.parametrize(
    ("chart", "value", "size", "code"),
    [
        ("p", 51, 50, "counts_invalid"),
        ("p", 1.5, 50, "counts_invalid"),
        ("p", 1, 50.5, "counts_invalid"),
        ("u", -1, 50, "counts_invalid"),
        ("np", 1, 40, "sample_size_varies"),
    ],
)
async def test_counts_that_cannot_be_are_refused(
    tmp_path: Path, chart: str, value: float, size: float, code: str
) -> None:
    with pytest.raises(PermanentError) as raised:
        await analyze(tmp_path, chart=chart, values=[3] * 9 + [value], sizes=[50] * 9 + [size])
    assert raised.value.code == code


async def test_counts_come_from_a_source_with_their_sizes(tmp_path: Path) -> None:
    table = Table(
        columns={"day": ColumnType.DATE, "bad": ColumnType.INTEGER, "made": ColumnType.INTEGER},
        rows=[(None, count, 50) for count in orange_juice()],
    )
    context = FolderContext(tmp_path, sources={"mes": TableSource({"juice": table}, batch_rows=7)})
    parameters = QualityParameters.model_validate(
        {
            "chart": "p",
            "measurements": {
                "source": "mes", "query": "juice", "value_column": "bad", "size_column": "made",
            },
        }
    )  # fmt: skip
    result = (await QualityAnalyze().run(context, parameters)).root
    assert isinstance(result, ChartResult)
    assert result.location is not None
    assert result.location.upper == pytest.approx(0.410239118595, abs=1e-12)
    chart = (tmp_path / "control-chart.svg").read_text(encoding="utf-8")
    assert "Fraction nonconforming" in chart


async def test_weighted_means_of_the_piston_rings(tmp_path: Path) -> None:
    expected = QCC["pistonrings_phase1_25x5"]["ewma_lambda0.2_nsig3"]
    result = await analyze(tmp_path, chart="ewma", subgroups=RINGS[:25])
    document = document_of(tmp_path)
    points = document["location"]
    assert points[0] == pytest.approx(expected["z1"], abs=1e-9)
    assert points[1] == pytest.approx(expected["z2"], abs=1e-9)
    assert points[24] == pytest.approx(expected["z25"], abs=1e-9)
    assert result.location is not None
    limits = [result.location.lower, result.location.upper]
    assert limits == pytest.approx(expected["limits_25"], abs=3 * TABLED)
    first = document["limits"]["location"]
    assert first["upper"][0] - first["center"] == pytest.approx(
        3 * 0.2 * 0.00978503869304 / 5**0.5, rel=5e-5
    )


async def test_weighted_means_of_the_nist_handbook(tmp_path: Path) -> None:
    # 6.3.2.4: lambda 0.3, the target 50 and sigma 2.0539 are known; the limits are asymptotic.
    result = await analyze(
        tmp_path,
        chart="ewma",
        values=NIST_EWMA,
        known={"center": 50, "sigma": 2.0539},
        ewma_weight=0.3,
    )
    assert document_of(tmp_path)["location"] == pytest.approx(NIST_EWMA_Z, abs=0.006)
    assert result.location is not None
    assert result.location.lower == pytest.approx(47.4115, abs=2e-4)
    assert result.location.upper == pytest.approx(52.5884, abs=2e-4)
    assert (result.stability, result.signal_count) == ("in_control", 0)


async def test_sums_of_the_nist_handbook(tmp_path: Path) -> None:
    # 6.3.2.3: k = 0.3175 is half of sigma, h = 4.1959 in the unit of the values.
    result = await analyze(
        tmp_path,
        chart="cusum",
        values=NIST_CUSUM,
        known={"center": 325, "sigma": 0.635},
        cusum_interval=4.1959 / 0.635,
    )
    upper = [signal.point for signal in result.signals if signal.chart == "upper_sum"]
    assert upper == [14, 15, 16, 17, 18, 19, 20]
    assert {signal.start for signal in result.signals} == {13}
    assert result.stability == "out_of_control"


async def test_sums_of_the_piston_rings_find_the_shift_of_phase_two(tmp_path: Path) -> None:
    result = await analyze(tmp_path, chart="cusum", subgroups=RINGS, phase1_points=25)
    upper = [signal.point for signal in result.signals if signal.chart == "upper_sum"]
    assert upper == QCC["pistonrings_phase1_25x5"]["cusum_h5_k0.5sigma_phase2_upper_signals"]
    assert result.location is not None
    assert (result.location.center, result.location.upper) == (0, 5)


def loop_ewma(values: list[float | None], weight: float) -> list[float | None]:
    last, found = 10.0, list[float | None]()
    for value in values:
        if value is not None:
            last = weight * value + (1 - weight) * last
        found.append(None if value is None else last)
    return found


def loop_cusum(values: list[float | None]) -> list[tuple[float, float] | None]:
    above = below = 0.0
    found: list[tuple[float, float] | None] = []
    for value in values:
        if value is not None:
            z = (value - 10) / 2
            above, below = max(0.0, above + z - 0.5), max(0.0, below - z - 0.5)
        found.append(None if value is None else (above, -below))
    return found


@given(
    values=st.lists(st.none() | st.floats(-20, 40, allow_subnormal=False), max_size=80),
    weight=st.sampled_from([0.01, 0.2, 0.9, 1.0]),
)
@settings(max_examples=150, deadline=None)
def test_memory_equals_a_loop(values: list[float | None], weight: float) -> None:
    points = np.array(values, dtype=np.float64)
    panel = cumulative.weighted(points, center=10, sigma=2, weight=weight, sigmas=3)
    expected = np.array(loop_ewma(values, weight), dtype=np.float64)
    assert panel.values == pytest.approx(expected, abs=1e-9, nan_ok=True)
    sums = cumulative.summed(points, center=10, sigma=2, slack=0.5, interval=5)
    looped = [(np.nan, np.nan) if pair is None else pair for pair in loop_cusum(values)]
    upper, lower = np.array(looped, dtype=np.float64).reshape(-1, 2).T
    assert sums.upper.values == pytest.approx(upper, abs=1e-9, nan_ok=True)
    assert sums.lower.values == pytest.approx(lower, abs=1e-9, nan_ok=True)
    for findings, side in ((sums.upper_findings, upper), (sums.lower_findings, -lower)):
        for point, start in zip(findings.points.tolist(), findings.starts.tolist(), strict=True):
            between = side[start : point + 1]
            assert (between[~np.isnan(between)] > 0).all()
            before = side[:start][~np.isnan(side[:start])]
            assert before.size == 0 or before[-1] == pytest.approx(0, abs=1e-9)


async def test_known_values_are_used_instead_of_estimates(tmp_path: Path) -> None:
    result = await analyze(
        tmp_path, chart="xbar-r", subgroups=RINGS, known={"center": 74, "sigma": 0.01}
    )
    assert result.location is not None
    assert result.dispersion is not None
    assert result.location.upper == pytest.approx(74 + 0.03 / 5**0.5)
    assert result.dispersion.center == pytest.approx(0.01 * d2(5))
    counts = await analyze(tmp_path, chart="c", values=[3, 5], known={"center": 4})
    assert counts.location is not None
    assert counts.location.upper == 10
    assert counts.stability == "insufficient_data"


async def test_capability_stands_beside_a_chart_with_a_memory(tmp_path: Path) -> None:
    result = await analyze(
        tmp_path,
        chart="cusum",
        subgroups=RINGS[:25],
        specification={"lower": 73.95, "upper": 74.05},
    )
    assert result.capability is not None
    assert result.capability.cpm is not None
    assert result.capability.cp is not None
    assert result.capability.cp.value == pytest.approx(1.70328, abs=1e-4)


async def test_an_infinite_value_is_refused(tmp_path: Path) -> None:
    table = Table(columns={"value": ColumnType.DOUBLE}, rows=[(1.0,), (float("inf"),)])
    context = FolderContext(tmp_path, sources={"mes": TableSource({"values": table})})
    parameters = QualityParameters.model_validate(
        {"chart": "i-mr", "measurements": {"source": "mes", "query": "values"}}
    )
    with pytest.raises(PermanentError) as raised:
        await QualityAnalyze().run(context, parameters)
    assert raised.value.code == "values_too_large"


@pytest.mark.parametrize(
    "wrong",
    [
        {"chart": "p", "values": [1, 2]},
        {"chart": "p", "values": [1, 2], "sizes": [5, 5, 5]},
        {"chart": "p", "values": [1], "sizes": [0]},
        {"chart": "p", "subgroups": [[1, 2]], "sizes": [5]},
        {"chart": "c", "values": [1], "sizes": [5]},
        {"chart": "c", "values": [1], "specification": {"lower": 1}},
        {"chart": "p", "values": [1], "sizes": [5], "known": {"center": 1.5}},
        {"chart": "u", "values": [1], "sizes": [5], "known": {"center": 1, "sigma": 1}},
        {"chart": "ewma", "values": [1], "known": {"center": 1}},
        {"chart": "ewma", "values": [1], "ewma_weight": 0},
    ],
    ids=str,
)
def test_parameters_that_cannot_work_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QualityParameters.model_validate(wrong)
