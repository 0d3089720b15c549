"""production.schedule as a job: plans from requests and sources, proposals, refusals, cancels."""

import asyncio
import csv
import json
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from lineshaft_contracts.scheduling import ScheduleParameters, ScheduleResult
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.production_schedule import ProductionSchedule
from pydantic import ValidationError

MONDAY = datetime(2026, 11, 30, 5, tzinfo=UTC)
"""Six o'clock in Berlin."""
DAY = {
    "weekdays": [1, 2, 3, 4, 5],
    "start": "06:00",
    "end": "14:00",
    "breaks": [{"start": "10:00", "end": "10:30"}],
}


def at(hours: float) -> datetime:
    return MONDAY + timedelta(hours=hours)


def step(name: str, *machines: str, minutes: float = 60, **more: Any) -> dict[str, Any]:
    ways = [{"resource": machine, "setup_minutes": minutes} for machine in machines]
    return {"id": name, "alternatives": ways, **more}


def order(name: str, routing: str = "R", **more: Any) -> dict[str, Any]:
    return {"id": name, "routing": routing, **more}


def plan(
    orders: list[dict[str, Any]], operations: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    return {
        "orders": orders,
        "routings": [{"id": "R", "operations": operations}, *more.pop("routings", [])],
        "resources": more.pop("resources", [{"id": "press"}, {"id": "oven"}]),
        **more,
    }


def parameters(given: dict[str, Any] | None = None, **more: Any) -> ScheduleParameters:
    values = {"horizon_start": MONDAY, "horizon_end": at(240), "timezone": "Europe/Berlin"}
    values |= {"solve_seconds_max": 60, "workers": 2, "plan": given, **more}
    return ScheduleParameters.model_validate(values)


async def run(folder: Path, given: dict[str, Any] | None = None, **more: Any) -> ScheduleResult:
    return await ProductionSchedule().run(FolderContext(folder), parameters(given, **more))


def starts(result: ScheduleResult) -> dict[str, float]:
    """Return the hours after the beginning at which each operation starts."""
    return {
        f"{one.order}/{one.operation}": (one.start - MONDAY) / timedelta(hours=1)
        for one in result.assignments
    }


SMALL = plan(
    [order("A1", due_at=at(2)), order("A2", due_at=at(30), weight=3)],
    [step("10", "press", minutes=300), step("20", "oven", "oven-2", minutes=90)],
    resources=[{"id": "press", "calendar": "day"}, {"id": "oven"}, {"id": "oven-2"}],
    calendars=[{"id": "day", "shifts": [DAY]}],
)


async def test_a_proposal_has_its_assignments_figures_and_three_files(tmp_path: Path) -> None:
    result = await run(tmp_path, SMALL, title="Week <49> & more")
    assert (result.status, result.counts.ok, result.operations) == ("optimal", 2, 4)
    assert [(one.objective, one.value) for one in result.objectives] == [
        ("weighted_tardiness", 300.0),
        ("makespan", 1_680.0),
    ]
    assert all(one.bound == one.value and one.proven for one in result.objectives)
    # 06:00 to 11:30 with a break, then 11:30 to 14:00 and 06:00 to 08:30 on the next day.
    assert starts(result) == {"A1/10": 0, "A1/20": 5.5, "A2/10": 5.5, "A2/20": 26.5}
    assert [len(one.segments) for one in result.assignments if one.operation == "10"] == [2, 2]
    (late,) = result.late
    assert (late.order, late.late_minutes, result.late_count) == ("A1", 300.0, 1)
    busy = {one.resource: one.ratio for one in result.utilisation}
    assert busy["press"] == pytest.approx(600 / 690)
    document = json.loads((tmp_path / "schedule.json").read_text("utf-8"))
    assert [one["order"] for one in document["assignments"]] == ["A1", "A1", "A2", "A2"]
    with (tmp_path / "schedule.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert rows[0]["start"] == "2026-11-30T06:00:00+01:00"
    chart = ET.fromstring((tmp_path / "schedule.svg").read_text("utf-8"))  # noqa: S314 - ours.
    assert chart.attrib["aria-label"] == "Week <49> & more"
    titles = [str(one.text) for one in chart.iter("{http://www.w3.org/2000/svg}title")]
    assert any("A1 / 10 on press" in title and "300 min late" in title for title in titles)
    assert [artifact.rows for artifact in result.artifacts] == [4, 6, None]


async def test_a_dry_run_checks_and_searches_nothing(tmp_path: Path) -> None:
    result = await run(tmp_path, SMALL, dry_run=True)
    assert (result.status, result.artifacts, result.counts.ok) == ("checked", (), 2)


async def test_the_first_objective_counts_before_the_second(tmp_path: Path) -> None:
    # One oven is fast after a long set-up, the other slow without one.
    ways = [
        {"resource": "oven", "setup_minutes": 40, "run_seconds_per_unit": 60},
        {"resource": "oven-2", "setup_minutes": 0, "run_seconds_per_unit": 600},
    ]
    given = plan(
        [order("A1", quantity=10), order("A2", quantity=10)],
        [{"id": "10", "alternatives": ways}],
        resources=[{"id": "oven"}, {"id": "oven-2"}],
    )
    found = {
        objectives: [
            one.value for one in (await run(tmp_path, given, objectives=objectives)).objectives
        ]
        for objectives in (("makespan", "setup"), ("setup", "makespan"))
    }
    assert found == {("makespan", "setup"): [100.0, 40.0], ("setup", "makespan"): [0.0, 200.0]}


async def test_a_plan_from_the_back_is_as_late_as_the_due_dates_allow(tmp_path: Path) -> None:
    given = plan(
        [order("A1", due_at=at(10)), order("A2", due_at=at(10))],
        [step("10", "press"), step("20", "oven")],
    )
    forward = starts(await run(tmp_path, given))
    assert min(forward.values()) == 0
    backward = await run(tmp_path, given, direction="backward")
    assert sorted(starts(backward).values()) == [7, 8, 8, 9]
    assert [one.objective for one in backward.objectives][-1] == "lead_time"
    assert backward.late_count == 0


async def test_frozen_assignments_stay_and_nothing_else_starts_before(tmp_path: Path) -> None:
    kept = {"operation": "10", "resource": "press"}
    given = plan(
        [order("A1"), order("A2"), order("A3")],
        [step("10", "press"), step("20", "oven")],
        assignments=[
            {"order": "A1", **kept, "start": at(-0.5), "end": at(0.755)},
            {"order": "A2", **kept, "start": at(5), "end": at(6)},
            {"order": "A3", **kept, "start": at(3), "end": at(4), "locked": True},
        ],
    )
    result = await run(tmp_path, given, frozen_until=at(1), objectives=["makespan"])
    found = starts(result)
    assert (found["A1/10"], found["A2/10"], found["A3/10"]) == (-0.5, 1, 3)
    assert found["A1/20"] >= 1
    assert (result.frozen_count, result.moved_count) == (2, 1)
    assert next(one.end for one in result.assignments if one.order == "A1") == at(0.755)


async def test_releases_materials_and_tools_are_waited_for(tmp_path: Path) -> None:
    way = {"setup_minutes": 60, "requirements": [{"resource": "tool"}]}
    given = plan(
        [
            order("A1", release_at=at(1.505)),
            order("A2", materials=[{"material": "ore", "available_at": at(4), "operation": "20"}]),
        ],
        [
            {"id": "10", "alternatives": [{"resource": "press", **way}]},
            {"id": "20", "alternatives": [{"resource": "oven", **way}]},
        ],
        resources=[{"id": "press"}, {"id": "oven"}, {"id": "tool"}],
    )
    found = starts(await run(tmp_path, given, objectives=["makespan"]))
    assert found["A2/20"] >= 4
    assert found["A1/10"] >= 1.505
    ordered = sorted(found.values())
    assert all(after - before >= 1 for before, after in pairwise(ordered))


IMPOSSIBLE: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no window": (
        plan(
            [order("A1")],
            [step("10", "press", minutes=250, interruptible=False)],
            resources=[{"id": "press", "calendar": "day"}],
            calendars=[{"id": "day", "shifts": [DAY]}],
        ),
        ["takes 250 min without interruption on press, whose longest", "is 240 min"],
    ),
    "too little of it": (
        plan(
            [order("A1")],
            [
                {
                    "id": "10",
                    "alternatives": [
                        {
                            "resource": "press",
                            "setup_minutes": 5,
                            "requirements": [{"resource": "oven", "quantity": 2}],
                        }
                    ],
                }
            ],
        ),
        ["needs 2 of oven, which has 1"],
    ),
    "late material": (
        plan(
            [order("A1", materials=[{"material": "ore", "available_at": at(239.5)}])],
            [step("10", "press")],
        ),
        ["order A1", "start at 2026-12-10 05:30 CET", "would fit if all materials"],
    ),
    "overload": (
        plan([order(f"A{n}") for n in range(5)], [step("10", "press", minutes=3_000)]),
        ["press has 14400 min", "15000 min have to be done", "horizon until 2026-12-20"],
    ),
    "frozen twice": (
        plan(
            [order("A1"), order("A2")],
            [step("10", "press")],
            assignments=[
                {
                    "order": name,
                    "operation": "10",
                    "resource": "press",
                    "start": at(2),
                    "end": at(3),
                    "locked": True,
                }
                for name in ("A1", "A2")
            ],
        ),
        ["10 of order A1 and 10 of order A2 are frozen on press at the same time", "nothing were"],
    ),
    "frozen too early": (
        plan(
            [order("A1")],
            [step("10", "press"), step("20", "oven")],
            assignments=[
                {
                    "order": "A1",
                    "operation": "20",
                    "resource": "oven",
                    "start": at(0.5),
                    "end": at(1),
                    "locked": True,
                }
            ],
        ),
        ["operation 20 of order A1 is frozen", "operation 10 before it cannot end"],
    ),
    "three for two places": (
        plan(
            [order(f"A{n}") for n in range(3)] + [order("B1", "S")],
            [step("10", "press", "oven", minutes=7_300)],
            routings=[{"id": "S", "operations": [step("10", "mill")]}],
            resources=[{"id": "press"}, {"id": "oven"}, {"id": "mill"}],
        ),
        ["orders A0, A1, A2 cannot all be finished", "it would fit with the horizon until"],
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
async def test_an_impossible_plan_is_explained_in_words(tmp_path: Path, name: str) -> None:
    given, words = IMPOSSIBLE[name]
    result = await run(tmp_path, given)
    told = " | ".join(result.reasons)
    assert (result.status, result.counts.failed) == ("infeasible", len(given["orders"]))
    assert [word for word in words if word not in told] == [], told
    assert result.artifacts == ()


def large() -> dict[str, Any]:
    """Twenty orders over ten machines in random order: no proof within a test's time."""
    random = Random(1)
    machines = [f"M{number}" for number in range(10)]
    routings = [
        {
            "id": f"R{number}",
            "operations": [
                step(f"{k}", machine, minutes=random.randint(1, 99))
                for k, machine in enumerate(random.sample(machines, 10))
            ],
        }
        for number in range(20)
    ]
    return {
        "orders": [order(f"A{n}", f"R{n}", due_at=at(2 * n)) for n in range(20)],
        "routings": routings,
        "resources": [{"id": machine} for machine in machines],
    }


async def test_a_search_tells_how_far_it_is_and_stops_when_it_is_cancelled(tmp_path: Path) -> None:
    context = FolderContext(tmp_path, cancel_after=10)
    async with asyncio.timeout(120):
        given = parameters(large(), solve_seconds_max=3_600)
        with pytest.raises(JobStoppedError):
            await ProductionSchedule().run(context, given)
    done = [step for step, _, _ in context.progressed]
    assert done == sorted(done)
    assert "objective 1, weighted_tardiness" in context.progressed[-1][2]
    assert any("bound" in told and "gap" in told for *_, told in context.progressed)
    assert context.artifacts() == ()


async def test_time_that_is_over_gives_the_best_so_far_and_its_bound(tmp_path: Path) -> None:
    result = await run(tmp_path, large(), solve_seconds_max=2)
    assert result.status == "feasible"
    first = result.objectives[0]
    assert 0 <= first.bound < first.value
    assert first.gap_ratio == pytest.approx((first.value - first.bound) / first.value)
    assert first.dispatched is not None
    assert first.value <= first.dispatched
    assert any("not proven" in warning for warning in result.warnings)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"plan": None}, "either plan or queries"),
        ({"horizon_start": MONDAY + timedelta(seconds=1)}, "whole minute"),
        ({"horizon_end": MONDAY}, "must be after horizon_start"),
        ({"objectives": ["setup", "setup"]}, "each objective can be given once"),
        ({"plan": {**SMALL, "orders": [order("A1", "X")]}}, "unknown routing 'X'"),
        ({"plan": {**SMALL, "orders": [order("A1"), order("A1")]}}, "'A1' is there twice"),
        ({"plan": {**SMALL, "orders": [order("=A1")]}}, "pattern"),
    ],
)
def test_parameters_that_contradict_themselves_are_refused(
    changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        parameters(**{"given": changes.pop("plan", SMALL), **changes})


async def test_a_plan_that_is_too_large_to_search_is_refused(tmp_path: Path) -> None:
    given = plan(
        [order(f"A{n}") for n in range(600)],
        [step("10", "press", minutes=1, changeover_group="red")],
        resources=[{"id": "press", "changeover": "colours"}],
        changeovers=[{"id": "colours"}],
    )
    with pytest.raises(PermanentError, match="360000 possible changeovers") as raised:
        await run(tmp_path, given, solve_seconds_max=5)
    assert raised.value.code == "schedule_too_large"
