"""Gage R&R: certified sums of squares, a published study, and studies that prove nothing."""

import csv
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lineshaft_contracts.gage import GageMethod, GageParameters, GageResult
from lineshaft_contracts.quality_analysis import QualityParameters
from lineshaft_job_runner.job_type import ColumnType, JobStoppedError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.gage import anova, ranges
from lineshaft_job_runner.types.gage.assessment import Assessment, assess
from lineshaft_job_runner.types.gage.study import Study, arrange
from lineshaft_job_runner.types.quality_analyze import QualityAnalyze
from lineshaft_job_runner.types.spc.panels import Array
from scipy import stats

SHARED = Path(__file__).parents[5] / "shared" / "references" / "domain-data"


def study_of(values: Array) -> Study:
    """Write an array, shape (parts, operators, trials), as readings, the last ones first."""
    readings = [
        (part, operator, values[part, operator, trial])
        for part, operator, trial in itertools.product(*map(range, values.shape))
    ]
    return arrange(readings)


def judged(study: Study, **parameters: Any) -> Assessment:
    return assess(study, GageParameters(analysis="gage-rr", readings=(), **parameters))


def simulated(gauge: float, *, parts: int = 10, operators: int = 3, trials: int = 3) -> Array:
    """Parts with a deviation of 1, and a gauge with this one."""
    generator = np.random.default_rng(11)
    return generator.normal(size=(parts, 1, 1)) + gauge * generator.normal(
        size=(parts, operators, trials)
    )


def certified(name: str) -> tuple[Array, dict[str, float]]:
    """Read a dataset of NIST StRD as a study of one operator: treatments are parts."""
    path = SHARED / "nist_strd_anova" / f"{name}.dat"
    if not path.exists():
        pytest.skip("the certified datasets are not on this machine")
    lines = path.read_text(encoding="utf-8").splitlines()
    rows = [line.split() for line in lines[60:] if line.strip()]
    groups: dict[str, list[float]] = {}
    for group, value in rows:
        groups.setdefault(group, []).append(float(value))
    between, within = (
        line.split()[-5:] for line in lines[40:47] if line.split()[:1] in (["Between"], ["Within"])
    )
    values = np.array(list(groups.values()))[:, None, :]
    return values, {
        "between": float(between[2]),
        "f": float(between[4]),
        "within": float(within[3]),
    }


@pytest.mark.parametrize(
    ("name", "digits"),
    [("SiRstv", 12), ("SmLs01", 13), ("AtmWtAg", 9), ("SmLs04", 8), ("SmLs07", 2)],
)
def test_sums_of_squares_keep_the_digits_that_the_input_has(name: str, digits: int) -> None:
    # NIST StRD. SmLs07 has 13 leading digits that are all alike: as binary numbers its values are
    # good to two digits after them; the textbook formula has none of them right, or a wrong sign.
    values, expected = certified(name)
    part, error = anova.table(values)
    assert part.sum_of_squares == pytest.approx(expected["between"], rel=10**-digits)
    assert error.sum_of_squares == pytest.approx(expected["within"], rel=10**-digits)
    assert part.f == pytest.approx(expected["f"], rel=10 ** -(digits - 1))


def published(trial: str = "time1") -> Study:
    path = SHARED / "gage_rr_ss_data_rr.csv"
    if not path.exists():
        pytest.skip("the study is not on this machine")
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return arrange((row["prototype"], row["operator"], float(row[trial])) for row in rows)


def test_a_study_equals_the_r_package_sixsigma() -> None:
    # SixSigma 0.11.1, ss.rr, on its own data.
    found = judged(published(), tolerance=1.1)
    rows = {row.source: row for row in found.rows}
    assert rows["part"].sum_of_squares == pytest.approx(1.2007185, abs=5e-8)
    assert rows["operator"].sum_of_squares == pytest.approx(0.0529407, abs=5e-8)
    assert rows["interaction"].sum_of_squares == pytest.approx(0.0833926, abs=5e-8)
    assert rows["repeatability"].sum_of_squares == pytest.approx(0.3854, abs=5e-8)
    assert [rows[name].freedom for name in rows] == [2, 2, 4, 18]
    assert rows["part"].f == pytest.approx(28.79677, abs=5e-6)
    assert rows["operator"].f == pytest.approx(1.26967, abs=5e-6)
    assert rows["interaction"].f == pytest.approx(0.97371, abs=5e-6)
    assert rows["interaction"].p_value == pytest.approx(0.4461879, abs=5e-8)
    assert found.pooled is True
    shares = {one.source: one for one in found.components}
    assert shares["repeatability"].variance == pytest.approx(0.0213087542088, abs=1e-13)
    assert shares["operator"].variance == pytest.approx(0.0005735129068, abs=1e-13)
    assert shares["gage-rr"].variance == pytest.approx(0.0218822671156, abs=1e-13)
    assert shares["part"].variance == pytest.approx(0.0643389450056, abs=1e-13)
    assert shares["total"].variance == pytest.approx(0.0862212121212, abs=1e-13)
    assert shares["gage-rr"].contribution_percent == pytest.approx(25.38, abs=5e-3)
    assert shares["gage-rr"].study_percent == pytest.approx(50.38, abs=5e-3)
    assert shares["operator"].study_percent == pytest.approx(8.16, abs=5e-3)
    assert shares["gage-rr"].tolerance_percent == pytest.approx(80.69, abs=5e-3)
    assert shares["part"].tolerance_percent == pytest.approx(138.36, abs=5e-3)
    assert found.categories == 2


def test_an_interaction_that_is_not_pooled_counts_as_reproducibility() -> None:
    values = simulated(0.3)
    wide = judged(study_of(values), interaction_alpha=1.0)
    shares = {one.source: one.variance for one in wide.components}
    assert wide.pooled is False
    assert shares["reproducibility"] == shares["operator"] + shares["interaction"]
    pooled = judged(study_of(values), interaction_alpha=0.0)
    assert pooled.pooled is True
    assert "interaction" not in {one.source for one in pooled.components}


@pytest.mark.parametrize("seed", range(5))
def test_the_table_equals_a_regression(seed: int) -> None:
    # Independent: sums of squares as differences of residuals of nested least-squares fits.
    generator = np.random.default_rng(seed)
    parts, operators, trials = (int(generator.integers(2, 5)) for _ in range(3))
    values = generator.normal(50, 2, (parts, operators, trials))
    part, operator, _ = (axis.ravel() for axis in np.indices(values.shape))

    def residual(*factors: Any) -> float:
        columns = [np.ones(values.size)]
        columns += [(factor == level).astype(float) for factor in factors for level in set(factor)]
        design = np.column_stack(columns)
        fitted = design @ np.linalg.lstsq(design, values.ravel(), rcond=None)[0]
        return float(((values.ravel() - fitted) ** 2).sum())

    cell = part * operators + operator
    expected = {
        "part": residual() - residual(part),
        "operator": residual(part) - residual(part, operator),
        "interaction": residual(part, operator) - residual(cell),
        "repeatability": residual(cell),
    }
    rows = {row.source: row for row in anova.table(values)}
    for source, squares in expected.items():
        assert rows[source].sum_of_squares == pytest.approx(squares, rel=1e-8, abs=1e-9)
    interaction, error = rows["interaction"], rows["repeatability"]
    f = interaction.mean_square / error.mean_square
    assert interaction.p_value == pytest.approx(
        stats.f.sf(f, interaction.freedom, error.freedom), rel=1e-9
    )


def test_factors_of_the_ranges_equal_the_tables_of_the_aiag() -> None:
    # K2 and K3 of the Measurement Systems Analysis manual, to four decimals.
    found = [round(1 / ranges.single_range(size), 4) for size in (2, 3, 4, 5, 10)]
    assert found == [0.7071, 0.5231, 0.4467, 0.4030, 0.3146]


def test_average_and_range_by_hand() -> None:
    values = simulated(0.2)
    found = judged(study_of(values), method=GageMethod.AVERAGE_RANGE)
    spread = np.mean([[max(cell) - min(cell) for cell in part] for part in values.tolist()])
    repeatability = spread * 0.5908
    difference = np.ptp([values[:, column].mean() for column in range(3)]) * 0.5231
    reproducibility = max(0.0, difference**2 - repeatability**2 / 30) ** 0.5
    of_parts = np.ptp([part.mean() for part in values]) * 0.3146
    shares = {one.source: one.deviation for one in found.components}
    assert shares["repeatability"] == pytest.approx(repeatability, rel=1e-4)
    assert shares["operator"] == pytest.approx(reproducibility, rel=1e-3, abs=1e-4)
    assert shares["part"] == pytest.approx(of_parts, rel=2e-4)
    assert found.rows == ()
    assert found.pooled is None


def test_average_and_range_equals_another_package() -> None:
    # mfgqc 0.3.1, whose factors have four decimals.
    found = judged(published(), method=GageMethod.AVERAGE_RANGE)
    shares = {one.source: one for one in found.components}
    assert shares["repeatability"].deviation == pytest.approx(0.13785, abs=2e-5)
    assert shares["operator"].deviation == pytest.approx(0.032666, abs=1e-5)
    assert shares["part"].deviation == pytest.approx(0.23714, abs=2e-5)
    assert shares["gage-rr"].study_percent == pytest.approx(51.29, abs=1e-2)
    assert found.categories == 2


@pytest.mark.parametrize(
    ("gauge", "verdict"), [(0.05, "acceptable"), (0.2, "marginal"), (1.0, "unacceptable")]
)
def test_a_gauge_is_judged_by_its_share(gauge: float, verdict: str) -> None:
    assert judged(study_of(simulated(gauge))).verdict == verdict


def test_a_narrow_tolerance_makes_a_good_gauge_unacceptable() -> None:
    study = study_of(simulated(0.05))
    assert judged(study, tolerance=6.0).verdict == "acceptable"
    assert judged(study, tolerance=0.5).verdict == "unacceptable"


def test_a_study_that_is_too_small_is_insufficient_data() -> None:
    few = judged(study_of(simulated(0.05, parts=3)))
    assert few.verdict == "insufficient_data"
    assert few.components
    alone = judged(study_of(simulated(0.05, operators=1)))
    assert alone.verdict == "insufficient_data"
    once = judged(study_of(simulated(0.05, trials=1)))
    assert (once.verdict, once.components) == ("insufficient_data", ())


def test_a_gauge_that_is_too_coarse_is_insufficient_data() -> None:
    assert judged(study_of(np.full((10, 3, 3), 7.0))).verdict == "insufficient_data"


def test_a_gauge_without_any_error_has_no_count_of_categories() -> None:
    values = np.repeat(np.arange(10.0), 9).reshape(10, 3, 3)
    found = judged(study_of(values))
    assert (found.verdict, found.categories) == ("acceptable", None)


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


COLUMNS = {
    "part": ColumnType.TEXT,
    "operator": ColumnType.INTEGER,
    "value": ColumnType.DOUBLE,
}


def source(rows: list[tuple[Any, ...]]) -> dict[str, TableSource]:
    return {"lab": TableSource({"study": Table(columns=COLUMNS, rows=rows)}, batch_rows=7)}


def rows_of(values: Array) -> list[tuple[Any, ...]]:
    return [
        (f"P{part}", operator, float(values[part, operator, trial]))
        for part, operator, trial in itertools.product(*map(range, values.shape))
    ]


QUERY = {"analysis": "gage-rr", "measurements": {"source": "lab", "query": "study"}}


async def run(context: FolderContext, **parameters: Any) -> GageResult:
    given = QualityParameters.model_validate({**QUERY, **parameters})
    result = await QualityAnalyze().run(context, given)
    assert isinstance(result.root, GageResult)
    return result.root


async def test_a_study_is_read_in_any_order_and_drawn(tmp_path: Path) -> None:
    rows = rows_of(simulated(0.05))
    digests: set[tuple[str, ...]] = set()
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        context = FolderContext(tmp_path / name, sources=source(rows))
        result = await run(context, title="Caliper $3 <mm>", tolerance=6)
        digests.add(tuple(artifact.sha256 for artifact in result.artifacts))
    assert result.verdict == "acceptable"
    assert (result.parts, result.operators, result.trials) == (10, 3, 3)
    assert [artifact.name for artifact in result.artifacts] == ["gage-rr.json", "gage-rr.svg"]
    assert len(digests) == 1
    chart = (tmp_path / "first" / "gage-rr.svg").read_text(encoding="utf-8")
    assert "Caliper $3 &lt;mm&gt;: acceptable" in chart
    mixed = await run(FolderContext(tmp_path, sources=source(rows[::-1])), dry_run=True)
    assert mixed.artifacts == ()
    assert [one.variance for one in mixed.components] == pytest.approx(
        [
            one.variance
            for one in (await run(FolderContext(tmp_path, sources=source(rows)))).components
        ]
    )


@pytest.mark.parametrize("change", ["null", "removed", "twice"])
async def test_a_reading_that_is_missing_is_never_made_up(tmp_path: Path, change: str) -> None:
    rows = rows_of(simulated(0.05))
    if change == "null":
        rows[4] = (*rows[4][:2], None)
    elif change == "removed":
        del rows[4]
    else:
        rows.append(rows[4])
    result = await run(FolderContext(tmp_path, sources=source(rows)))
    assert result.verdict == "insufficient_data"
    assert result.components == ()
    assert result.counts.skipped == (change == "null")


async def test_no_readings_are_insufficient_data(tmp_path: Path) -> None:
    result = await run(FolderContext(tmp_path, sources=source([])))
    assert result.verdict == "insufficient_data"
    result = await run(FolderContext(tmp_path), measurements=None, readings=[])
    assert result.reason == "there are no readings"


async def test_a_cancelled_study_leaves_nothing(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, sources=source(rows_of(simulated(0.05))), cancel_after=3)
    with pytest.raises(JobStoppedError):
        await run(context)
    assert names_in(tmp_path) == []
