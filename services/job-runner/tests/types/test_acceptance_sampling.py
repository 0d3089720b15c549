"""MIL-STD-105E cell by cell, operating characteristics, and lots that are never waved through."""

import csv
import json
from itertools import pairwise
from math import comb
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.jobs import RESULT_BYTES_MAX
from lineshaft_contracts.quality_analysis import QualityParameters
from lineshaft_contracts.sampling import (
    AQLS,
    Distribution,
    InspectionLevel,
    Risks,
    SamplingResult,
    Severity,
    StandardPlan,
)
from lineshaft_job_runner.job_type import ColumnType, JobStoppedError, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.quality_analyze import QualityAnalyze
from lineshaft_job_runner.types.sampling import mil_std_105e
from lineshaft_job_runner.types.sampling.characteristic import Characteristic, hypergeometric
from lineshaft_job_runner.types.sampling.plans import smallest
from lineshaft_job_runner.types.sampling.switching import Outcome, State, after, begin
from pydantic import ValidationError
from scipy import stats

SHARED = Path(__file__).parents[5] / "shared" / "references" / "domain-data"
LETTERS = "ABCDEFGHJKLMNPQR"
GOOD, BAD, UNKNOWN = Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN


def shared(name: str) -> str:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{name} is not on this machine")
    return path.read_text(encoding="utf-8")


def test_every_cell_of_the_tables_equals_the_r_package_aqlschemes() -> None:
    rows = list(csv.DictReader(shared("z14_single_plans.csv").splitlines()))
    assert len(rows) == 3 * 16 * 26
    for row in rows:
        found = mil_std_105e.plan(row["code_letter"], float(row["aql"]), Severity(row["severity"]))
        expected = (int(row["n"]), int(row["ac"]), int(row["re"]))
        assert (found.sample_size, found.acceptance_number, found.rejection_number) == expected


def test_every_code_letter_equals_the_r_package_aqlschemes() -> None:
    rows = list(csv.DictReader(shared("z14_code_letters.csv").splitlines()))
    assert len(rows) == 15
    for number, row in enumerate(rows):
        last = int(rows[number + 1]["lot_min"]) - 1 if number + 1 < len(rows) else 10**9
        for level in InspectionLevel:
            for size in (int(row["lot_min"]), last):
                assert mil_std_105e.code_letter(size, level) == row[level]
    assert mil_std_105e.code_letter(1, InspectionLevel.II) == "A"


@pytest.mark.parametrize("severity", Severity)
def test_plans_follow_the_diagonals_of_the_standard(severity: Severity) -> None:
    # Independent of any table: along a row a worse AQL never takes a larger sample for the same
    # acceptance number, and acceptance numbers never fall.
    for letter in LETTERS:
        plans = [mil_std_105e.plan(letter, aql, severity) for aql in AQLS]
        numbers = [plan.acceptance_number for plan in plans]
        assert numbers == sorted(numbers)
        for plan, worse in pairwise(plans):
            assert plan.rejection_number > plan.acceptance_number
            if plan.rejection_number == worse.rejection_number:
                assert worse.sample_size <= plan.sample_size


def test_acceptance_equals_the_r_package_acceptancesampling() -> None:
    expected = json.loads(shared("acceptance_sampling.json"))["p_accept"]
    for name, sample, allowed, distribution, lot in (
        ("n125_c3_binomial", 125, 3, Distribution.BINOMIAL, None),
        ("n80_c2_binomial", 80, 2, Distribution.BINOMIAL, None),
        ("n50_c1_hypergeom_N500", 50, 1, Distribution.HYPERGEOMETRIC, 500),
    ):
        curve = Characteristic(
            sample_size=sample, allowed=allowed, distribution=distribution, lot_size=lot
        )
        for quality, acceptance in expected[name].items():
            assert curve.acceptance(float(quality)) == pytest.approx(acceptance, abs=1e-10)


def test_the_smallest_plans_equal_the_r_package_acceptancesampling() -> None:
    for known in json.loads(shared("acceptance_sampling.json"))["find_plan"]:
        if known["type"].startswith("normal"):
            continue  # A plan by variables.
        finite = known["type"] == "hypergeom"
        found = smallest(
            Risks(
                producer_quality=known["prp"][0],
                producer_risk=1 - known["prp"][1],
                consumer_quality=known["crp"][0],
                consumer_risk=known["crp"][1],
            ),
            Distribution.HYPERGEOMETRIC if finite else Distribution.BINOMIAL,
            known.get("N"),
        )
        assert (found.sample_size, found.acceptance_number) == (known["n"], known["c"])


@given(
    lot=st.integers(1, 60), data=st.data(),
)  # fmt: skip
@settings(max_examples=200, deadline=None)
def test_hypergeometric_equals_counting(lot: int, data: st.DataObject) -> None:
    sample = data.draw(st.integers(1, lot))
    nonconforming = data.draw(st.integers(0, lot))
    allowed = data.draw(st.integers(0, lot))
    ways = sum(
        comb(nonconforming, found) * comb(lot - nonconforming, sample - found)
        for found in range(min(allowed, sample) + 1)
    )
    assert hypergeometric(allowed, sample, nonconforming, lot) == pytest.approx(
        ways / comb(lot, sample), rel=1e-11, abs=1e-300
    )


def test_hypergeometric_keeps_its_digits_for_a_large_lot() -> None:
    # For so large a lot it is the binomial distribution to nine digits.
    found = hypergeometric(3, 125, 10_000_000, 1_000_000_000)
    assert found == pytest.approx(stats.binom.cdf(3, 125, 0.01), rel=1e-6)


@pytest.mark.parametrize("distribution", Distribution)
def test_a_quality_is_found_again(distribution: Distribution) -> None:
    curve = Characteristic(sample_size=50, allowed=2, distribution=distribution, lot_size=2_000)
    for probability in (0.95, 0.5, 0.1):
        quality = curve.quality_at(probability)
        assert quality is not None
        assert curve.acceptance(quality) >= probability - 1e-9
        assert curve.acceptance(quality + 1 / 2_000) < probability
    points = curve.points(201)
    assert (points[0].quality, points[0].acceptance) == (0, 1)
    falling = [point.acceptance for point in points]
    assert falling == sorted(falling, reverse=True)
    assert falling[-1] < 0.01


def test_risks_that_no_sample_keeps_are_refused() -> None:
    risks = Risks(producer_quality=0.1, consumer_quality=0.1001)
    with pytest.raises(PermanentError) as raised:
        smallest(risks, Distribution.BINOMIAL, None)
    assert raised.value.code == "plan_not_found"


RULES = StandardPlan(aql=1.0, reduced_limit=4)


def run_of(outcomes: list[Outcome], *, found: int = 0, rules: StandardPlan = RULES) -> State:
    state = begin(rules)
    for outcome in outcomes:
        state = after(state, outcome, found, rules)
    return state


@pytest.mark.parametrize("between", range(4))
def test_two_rejected_of_five_tighten(between: int) -> None:
    state = run_of([BAD, *[GOOD] * between, BAD])
    assert state.severity is Severity.TIGHTENED


def test_two_rejected_of_six_do_not_tighten() -> None:
    assert run_of([BAD, *[GOOD] * 4, BAD]).severity is Severity.NORMAL


def test_five_accepted_in_a_row_end_tightened_inspection() -> None:
    assert run_of([BAD, BAD, *[GOOD] * 4]).severity is Severity.TIGHTENED
    assert run_of([BAD, BAD, *[GOOD] * 5]).severity is Severity.NORMAL
    assert run_of([BAD, BAD, *[GOOD] * 4, BAD, *[GOOD] * 4]).severity is Severity.TIGHTENED
    assert run_of([BAD, BAD, *[GOOD] * 4, UNKNOWN, GOOD]).severity is Severity.TIGHTENED


def test_five_rejected_on_tightened_inspection_discontinue_it() -> None:
    assert not run_of([BAD] * 6).discontinued
    assert run_of([BAD] * 7).discontinued
    # They are counted over all lots that tightened inspection lasts.
    assert run_of([BAD, BAD, *[BAD, GOOD] * 5]).discontinued
    assert not run_of([BAD, BAD, *[BAD] * 4, *[GOOD] * 5, BAD]).discontinued


def test_ten_accepted_with_few_found_are_reduced() -> None:
    assert run_of([GOOD] * 9).severity is Severity.NORMAL
    assert run_of([GOOD] * 10).severity is Severity.REDUCED
    assert run_of([GOOD] * 10, found=1).severity is Severity.NORMAL
    assert run_of([*[GOOD] * 9, BAD, GOOD]).severity is Severity.NORMAL
    assert run_of([*[GOOD] * 9, UNKNOWN, GOOD]).severity is Severity.NORMAL
    never = StandardPlan(aql=1.0)
    assert run_of([GOOD] * 30, rules=never).severity is Severity.NORMAL


@pytest.mark.parametrize("outcome", [BAD, Outcome.ACCEPTED_ABOVE, UNKNOWN])
def test_anything_but_acceptance_ends_reduced_inspection(outcome: Outcome) -> None:
    assert run_of([*[GOOD] * 12, outcome]).severity is Severity.NORMAL


@given(outcomes=st.lists(st.sampled_from(Outcome), max_size=60))
def test_reduced_inspection_was_earned_and_discontinuation_is_final(
    outcomes: list[Outcome],
) -> None:
    state = begin(RULES)
    for number, outcome in enumerate(outcomes):
        following = after(state, outcome, 0, RULES)
        if following.severity is Severity.REDUCED and state.severity is not Severity.REDUCED:
            earned = outcomes[max(0, number - 9) : number + 1]
            assert len(earned) == 10
            assert BAD not in earned
            assert UNKNOWN not in earned
        if state.discontinued:
            assert following == state
        state = following


async def analyze(context: FolderContext, **parameters: Any) -> SamplingResult:
    given = QualityParameters.model_validate({"analysis": "sampling", **parameters})
    result = await QualityAnalyze().run(context, given)
    assert isinstance(result.root, SamplingResult)
    return result.root


def lot(
    number: int, nonconforming: int | None, inspected: int | None = 80, size: int | None = 1000
) -> dict[str, Any]:
    return {
        "lot": f"L{number}", "lot_size": size, "inspected": inspected,
        "nonconforming": nonconforming,
    }  # fmt: skip


async def test_a_plan_of_the_standard_is_found_and_drawn(tmp_path: Path) -> None:
    result = await analyze(
        FolderContext(tmp_path), standard={"aql": 1.0}, lot_size=1000, title="Valves $1"
    )
    plans = {
        plan.severity: (
            plan.code_letter,
            plan.sample_size,
            plan.acceptance_number,
            plan.rejection_number,
        )
        for plan in result.plans
    }
    assert plans == {
        "normal": ("J", 80, 2, 3), "tightened": ("J", 80, 1, 2), "reduced": ("J", 32, 1, 3),
    }  # fmt: skip
    assert result.quality_accepted == pytest.approx(0.01029, abs=1e-4)
    assert (result.counts.requested, result.counts.ok) == (3, 3)
    chart = (tmp_path / "sampling.svg").read_text(encoding="utf-8")
    assert "Valves $1" in chart
    document = json.loads((tmp_path / "sampling.json").read_text(encoding="utf-8"))
    assert [len(plan["characteristic"]) for plan in document["plans"]] == [201] * 3
    assert len(result.characteristic) == 41


async def test_lots_switch_to_tightened_inspection(tmp_path: Path) -> None:
    lots = [lot(1, 3), lot(2, 0), lot(3, 4), lot(4, 2), lot(5, 1)]
    result = await analyze(FolderContext(tmp_path), standard={"aql": 1.0}, lots=lots)
    assert [one.verdict for one in result.lots] == [
        "rejected", "accepted", "rejected", "rejected", "accepted",
    ]  # fmt: skip
    assert [one.severity for one in result.lots][3:] == ["tightened", "tightened"]
    assert result.severity_next == "tightened"
    assert (result.lots_accepted, result.lots_rejected) == (2, 3)


@pytest.mark.parametrize(
    "unknown",
    [
        lot(1, None),
        lot(1, 0, inspected=None),
        lot(1, 0, size=None),
        lot(1, 0, inspected=79),
        lot(1, 0, inspected=1001),
    ],
    ids=["found", "inspected", "size", "too few", "too many"],
)
async def test_what_is_not_known_is_never_accepted(
    tmp_path: Path, unknown: dict[str, Any]
) -> None:
    result = await analyze(FolderContext(tmp_path), standard={"aql": 1.0}, lots=[unknown])
    assert result.lots[0].verdict == "insufficient_data"
    assert (result.lots_accepted, result.counts.skipped) == (0, 1)


async def test_a_sample_that_is_too_small_may_still_reject(tmp_path: Path) -> None:
    result = await analyze(
        FolderContext(tmp_path), standard={"aql": 1.0}, lots=[lot(1, 3, inspected=10)]
    )
    assert result.lots[0].verdict == "rejected"


async def test_a_small_lot_is_inspected_whole(tmp_path: Path) -> None:
    lots = [lot(1, 0, inspected=5, size=5)]
    result = await analyze(FolderContext(tmp_path), standard={"aql": 1.0}, lots=lots)
    assert result.plans[0].inspect_all
    assert result.lots[0].verdict == "accepted"


async def test_no_lot_is_accepted_after_discontinuation(tmp_path: Path) -> None:
    lots = [lot(number, 9) for number in range(7)] + [lot(8, 0)]
    result = await analyze(FolderContext(tmp_path), standard={"aql": 1.0}, lots=lots)
    assert result.discontinued
    assert result.lots[-1].verdict == "inspection_discontinued"
    assert result.lots_accepted == 0


async def test_a_lot_that_was_submitted_again_does_not_switch(tmp_path: Path) -> None:
    again = {**lot(2, 3), "resubmitted": True}
    result = await analyze(FolderContext(tmp_path), standard={"aql": 1.0}, lots=[lot(1, 3), again])
    assert result.severity_next == "normal"


async def test_lots_come_from_a_source_and_a_cancelled_job_leaves_nothing(tmp_path: Path) -> None:
    integer = ColumnType.INTEGER
    table = Table(
        columns={
            "lot": integer,
            "lot_size": integer,
            "inspected": integer,
            "nonconforming": integer,
        },
        rows=[(number, 1000, 80, number % 3) for number in range(150)],
    )
    sources = {"mes": TableSource({"lots": table}, batch_rows=20)}
    given: dict[str, Any] = {
        "standard": {"aql": 1.0}, "lots_query": {"source": "mes", "query": "lots"},
    }  # fmt: skip
    with pytest.raises(JobStoppedError):
        await analyze(FolderContext(tmp_path, sources=sources, cancel_after=3), **given)
    assert names_in(tmp_path) == []
    result = await analyze(FolderContext(tmp_path, sources=sources), **given)
    assert (result.lots_accepted, len(result.lots)) == (150, 50)
    document = json.loads((tmp_path / "sampling.json").read_text(encoding="utf-8"))
    assert len(document["lots"]) == 150


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_the_longest_names_fit_into_a_result(tmp_path: Path) -> None:
    integer = ColumnType.INTEGER
    columns = dict.fromkeys(("lot_size", "inspected", "nonconforming"), integer)
    rows = [("\U0001f529" * 200, 1_000_000_000, None, 0) for _ in range(150)]
    table = Table(columns={"lot": ColumnType.TEXT, **columns}, rows=rows)
    sources = {"mes": TableSource({"lots": table})}
    given: dict[str, Any] = {
        "standard": {"aql": 1.0}, "lots_query": {"source": "mes", "query": "lots"},
    }  # fmt: skip
    result = await analyze(FolderContext(tmp_path, sources=sources), **given)
    assert len(result.model_dump_json().encode()) < RESULT_BYTES_MAX
    rows[0] = ("x" * 201, 1, None, 1)
    with pytest.raises(PermanentError) as raised:
        await analyze(FolderContext(tmp_path, sources=sources), **given)
    assert raised.value.code == "label_too_long"


async def test_a_plan_that_was_agreed_otherwise(tmp_path: Path) -> None:
    result = await analyze(
        FolderContext(tmp_path),
        plan={"sample_size": 50, "acceptance_number": 1},
        lot_size=500,
        distribution="hypergeometric",
        lots=[lot(1, 1, inspected=50, size=500), lot(2, 2, inspected=50, size=500)],
    )
    assert [one.verdict for one in result.lots] == ["accepted", "rejected"]
    assert result.severity_next is None


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"standard": {"aql": 1.0}},
        {"standard": {"aql": 1.1}, "lot_size": 10},
        {
            "standard": {"aql": 1.0},
            "plan": {"sample_size": 5, "acceptance_number": 0},
            "lot_size": 5,
        },
        {"risks": {"producer_quality": 0.1, "consumer_quality": 0.01}},
        {"plan": {"sample_size": 5, "acceptance_number": 0}, "distribution": "hypergeometric"},
        {"plan": {"sample_size": 0, "acceptance_number": 0}},
        {"plan": {"sample_size": 5, "acceptance_number": 5}},
    ],
    ids=str,
)
def test_questions_without_an_answer_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QualityParameters.model_validate({"analysis": "sampling", **wrong})
