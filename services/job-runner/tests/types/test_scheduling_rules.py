"""Schedules keep every rule: random plans that are solved pass, and every breach is found."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from lineshaft_contracts.scheduling import Assignment, Objective, ScheduleParameters, Segment
from lineshaft_contracts.scheduling_plan import Plan
from lineshaft_job_runner.types.scheduling.assigning import assignments
from lineshaft_job_runner.types.scheduling.building import build
from lineshaft_job_runner.types.scheduling.claims import wrong_claims
from lineshaft_job_runner.types.scheduling.compaction import compact
from lineshaft_job_runner.types.scheduling.dispatching import Rule, dispatch, dispatch_by
from lineshaft_job_runner.types.scheduling.objectives import asked, value, values
from lineshaft_job_runner.types.scheduling.problem import Problem
from lineshaft_job_runner.types.scheduling.refusing import obstacles
from lineshaft_job_runner.types.scheduling.search import Watch, search
from lineshaft_job_runner.types.scheduling.validator import Validator

MONDAY = datetime(2026, 3, 23, tzinfo=UTC)
GROUPS = ("red", "blue", "green")
PROPERTY = settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


def at(minutes: float) -> datetime:
    return MONDAY + timedelta(minutes=minutes)


@st.composite
def calendars(draw: st.DrawFn) -> dict[str, Any]:
    """Two shifts, one over midnight, and a lunch; in the week in which Berlin loses an hour."""
    shifts: list[dict[str, Any]] = [
        {
            "weekdays": draw(st.sets(st.integers(1, 7), min_size=4)),
            "start": "06:00",
            "end": "14:00",
            "breaks": draw(st.sampled_from([[], [{"start": "10:00", "end": "10:30"}]])),
        },
        {
            "weekdays": [5, 6, 7],
            "start": "22:00",
            "end": "06:00",
            "breaks": [{"start": "01:30", "end": "03:15"}],
        },
    ]
    return {
        "id": "two-shifts",
        "timezone": draw(st.sampled_from(["Europe/Berlin", "America/New_York", "UTC"])),
        "shifts": shifts[: draw(st.integers(1, 2))],
        "holidays": draw(st.sampled_from([[], ["2026-03-25"]])),
        "exceptions": draw(
            st.sampled_from(
                [[], [{"date": "2026-03-26", "shifts": [{"start": "07:00", "end": "11:00"}]}]]
            )
        ),
    }


@st.composite
def routings(draw: st.DrawFn, number: int, machines: list[str]) -> dict[str, Any]:
    operations: list[dict[str, Any]] = []
    for step in range(draw(st.integers(1, 3))):
        ways = draw(st.lists(st.sampled_from(machines), min_size=1, max_size=2, unique=True))
        operations.append(
            {
                "id": f"{step + 1}0",
                "interruptible": draw(st.booleans()),
                "lag_minutes": draw(st.sampled_from([0, 0, 45])),
                "changeover_group": draw(st.sampled_from([None, *GROUPS])),
                "after": [] if draw(st.integers(0, 5)) == 0 else None,
                "alternatives": [
                    {
                        "resource": way,
                        "setup_minutes": draw(st.integers(0, 30)),
                        "run_seconds_per_unit": draw(st.integers(1, 120)),
                        "efficiency": draw(st.sampled_from([1.0, 0.7, 1.3])),
                        "requirements": draw(
                            st.sampled_from([[], [], [{"resource": "crew", "quantity": 1}]])
                        ),
                    }
                    for way in ways
                ],
            }
        )
    return {"id": f"R{number}", "operations": operations}


@st.composite
def plans(draw: st.DrawFn, *, orders_max: int = 4) -> dict[str, Any]:
    machines = ["press", "oven", "lathe"]
    count = draw(st.integers(1, orders_max))
    closed = {"start": at(500), "end": at(700), "reason": "maintenance"}
    resources: list[dict[str, Any]] = [
        {
            "id": "press",
            "calendar": draw(st.sampled_from([None, "two-shifts"])),
            "changeover": "colours",
            "initial_group": draw(st.sampled_from([None, "red"])),
            "closures": draw(st.sampled_from([[], [closed]])),
        },
        {"id": "oven", "capacity": draw(st.integers(1, 3)), "calendar": "two-shifts"},
        {"id": "lathe", "efficiency": draw(st.sampled_from([1.0, 0.9]))},
        {"id": "crew", "calendar": draw(st.sampled_from([None, "two-shifts"]))},
    ]
    times = [
        {"from_group": before, "to_group": after, "minutes": draw(st.sampled_from([0, 20, 90]))}
        for before in GROUPS
        for after in GROUPS
    ]
    made = [draw(routings(number, machines)) for number in range(count)]
    orders = [
        {
            "id": f"A{number}",
            "routing": f"R{number}",
            "quantity": draw(st.integers(1, 200)),
            "due_at": draw(st.sampled_from([None, at(600), at(2_000), at(5_000)])),
            "release_at": draw(st.sampled_from([None, None, at(90)])),
            "weight": draw(st.integers(0, 5)),
            "materials": draw(
                st.sampled_from([[], [{"material": "steel", "available_at": at(400)}]])
            ),
        }
        for number in range(count)
    ]
    return {
        "orders": orders,
        "routings": made,
        "resources": resources,
        "calendars": [draw(calendars())],
        "changeovers": [{"id": "colours", "times": times}],
        "assignments": draw(st.sampled_from([[], [_frozen(made[0])]])),
    }


def _frozen(routing: dict[str, Any]) -> dict[str, Any]:
    first = routing["operations"][0]
    return {
        "order": "A0",
        "operation": first["id"],
        "resource": first["alternatives"][0]["resource"],
        "start": at(-20.5),
        "end": at(75.25),
    }


def task(plan: dict[str, Any], **more: Any) -> ScheduleParameters:
    return ScheduleParameters.model_validate(
        {
            "horizon_start": MONDAY,
            "horizon_end": MONDAY + timedelta(days=12),
            "frozen_until": at(60) if plan["assignments"] else None,
            "plan": plan,
            "solve_seconds_max": 20,
            "workers": 1,
            **more,
        }
    )


def prepared(parameters: ScheduleParameters) -> tuple[Plan, Problem]:
    assert parameters.plan is not None
    return parameters.plan, build(parameters.plan, parameters)


def broken(parameters: ScheduleParameters, made: list[Assignment]) -> list[str]:
    assert parameters.plan is not None
    return Validator(parameters.plan, parameters).violations(made)


OBJECTIVES = st.lists(st.sampled_from(list(Objective)), min_size=1, max_size=3, unique=True)


@given(plans(), OBJECTIVES, st.sampled_from(["forward", "backward"]), st.sampled_from([60, 15]))
@PROPERTY
def test_what_the_solver_finds_passes_the_validator(
    plan: dict[str, Any], objectives: list[Objective], direction: str, tick_seconds: int
) -> None:
    parameters = task(plan, objectives=objectives, direction=direction, tick_seconds=tick_seconds)
    checked, problem = prepared(parameters)
    assume(not obstacles(problem))
    first = dispatch(problem)
    found = search(
        problem, first and first.schedule, deadline=time.monotonic() + 20, watch=Watch()
    )
    if found.schedule is None:
        assert found.infeasible
        return
    made = assignments(problem, found.schedule)
    assert broken(parameters, made) == []
    minutes = tick_seconds / 60
    claims = {stage.objective: stage.value * minutes for stage in found.stages}
    assert wrong_claims(checked, parameters, made, claims) == []
    for stage in found.stages:
        assert stage.bound <= stage.value == value(problem, found.schedule, stage.objective)
    if first is not None:
        assert values(problem, found.schedule) <= values(problem, first.schedule)


@given(plans(orders_max=8), st.sampled_from(list(Rule)))
@PROPERTY
def test_every_dispatching_rule_keeps_every_rule(plan: dict[str, Any], rule: Rule) -> None:
    parameters = task(plan)
    _, problem = prepared(parameters)
    assume(not obstacles(problem))
    schedule = dispatch_by(problem, rule)
    assume(schedule is not None)
    assert schedule is not None
    assert broken(parameters, assignments(problem, schedule)) == []


@given(plans(orders_max=8), st.sampled_from(list(Rule)), OBJECTIVES)
@PROPERTY
def test_compaction_keeps_every_rule_and_makes_nothing_worse(
    plan: dict[str, Any], rule: Rule, objectives: list[Objective]
) -> None:
    parameters = task(plan, objectives=objectives)
    _, problem = prepared(parameters)
    assume(not obstacles(problem))
    schedule = dispatch_by(problem, rule)
    assume(schedule is not None)
    assert schedule is not None
    moved = compact(problem, schedule)
    assert broken(parameters, assignments(problem, moved)) == []
    for objective in asked(parameters):
        assert value(problem, moved, objective) <= value(problem, schedule, objective)


SHOP: dict[str, Any] = {
    "orders": [
        {"id": "A1", "routing": "R", "quantity": 60, "due_at": at(900)},
        {"id": "A2", "routing": "R", "quantity": 30, "release_at": at(400)},
        {
            "id": "A3",
            "routing": "S",
            "materials": [{"material": "steel", "available_at": at(420)}],
        },
        {"id": "A4", "routing": "S"},
    ],
    "routings": [
        {
            "id": "R",
            "operations": [
                {
                    "id": "10",
                    "changeover_group": "red",
                    "alternatives": [{"resource": "press", "run_seconds_per_unit": 120}],
                },
                {
                    "id": "20",
                    "lag_minutes": 15,
                    "alternatives": [
                        {"resource": "oven", "setup_minutes": 90},
                        {"resource": "oven-2", "setup_minutes": 100},
                    ],
                },
            ],
        },
        {
            "id": "S",
            "operations": [
                {
                    "id": "10",
                    "interruptible": False,
                    "changeover_group": "blue",
                    "alternatives": [
                        {
                            "resource": "press",
                            "setup_minutes": 50,
                            "requirements": [{"resource": "crew", "quantity": 2}],
                        }
                    ],
                }
            ],
        },
    ],
    "resources": [
        {"id": "press", "calendar": "day", "changeover": "colours", "initial_group": "red"},
        {"id": "oven", "capacity": 1},
        {"id": "oven-2", "capacity": 2},
        {"id": "crew", "capacity": 2},
        {"id": "spare"},
    ],
    "calendars": [
        {
            "id": "day",
            "shifts": [
                {
                    "weekdays": [1, 2, 3, 4, 5],
                    "start": "06:00",
                    "end": "14:00",
                    "breaks": [{"start": "07:00", "end": "07:30"}],
                }
            ],
        }
    ],
    "changeovers": [
        {
            "id": "colours",
            "default_minutes": 30,
            "times": [{"from_group": "blue", "to_group": "red", "minutes": 60}],
        }
    ],
    "assignments": [
        {
            "order": "A4",
            "operation": "10",
            "resource": "press",
            "start": at(600),
            "end": at(650),
            "locked": True,
        }
    ],
}

Change = Callable[[dict[tuple[str, str], Assignment]], Assignment | None]


def _moved(one: Assignment, minutes: float) -> Assignment:
    """Shift a whole assignment in time."""
    by = timedelta(minutes=minutes)
    parts = tuple(Segment(start=p.start + by, end=p.end + by) for p in one.segments)
    return one.model_copy(update={"start": one.start + by, "end": one.end + by, "segments": parts})


def _spanning(one: Assignment, *spans: tuple[float, float]) -> Assignment:
    parts = tuple(Segment(start=at(start), end=at(end)) for start, end in spans)
    return one.model_copy(
        update={"start": parts[0].start, "end": parts[-1].end, "segments": parts}
    )


BREACHES: dict[str, tuple[Change, str]] = {
    "overlap": (lambda by: _moved(by["A2", "10"], -3), "slots of 'press' in use"),
    "wrong order": (lambda by: _moved(by["A1", "20"], -400), "before '10' is done"),
    "lag ignored": (lambda by: _moved(by["A1", "20"], -1), "before '10' is done"),
    "at night": (lambda by: _moved(by["A2", "10"], 300), "outside of the calendar"),
    "in the break": (
        lambda by: _spanning(by["A1", "10"], (360, 480)),
        "outside of the calendar",
    ),
    "before the horizon": (lambda by: _moved(by["A1", "10"], -1_440), "outside of the horizon"),
    "after the horizon": (lambda by: _moved(by["A1", "20"], 40_000), "outside of the horizon"),
    "wrong resource": (
        lambda by: by["A1", "10"].model_copy(update={"resource": "spare"}),
        "cannot be done on 'spare'",
    ),
    "another alternative's time": (
        lambda by: by["A1", "20"].model_copy(update={"resource": "oven-2"}),
        "takes 1:40:00",
    ),
    "too short": (
        lambda by: _spanning(by["A1", "20"], (600, 650)),
        "takes 1:30:00",
    ),
    "rest in working time": (
        lambda by: _spanning(by["A1", "20"], (600, 650), (660, 700)),
        "rests in working time",
    ),
    "interrupted": (
        lambda by: _spanning(by["A3", "10"], (410, 420), (450, 490)),
        "must not be",
    ),
    "changeover ignored": (lambda by: _moved(by["A2", "10"], 1), "to change over from 'red'"),
    "frozen moved": (lambda by: _moved(by["A4", "10"], 1), "is frozen, but was moved"),
    "frozen elsewhere": (
        lambda by: by["A4", "10"].model_copy(update={"resource": "spare"}),
        "is frozen, but was moved",
    ),
    "called frozen": (
        lambda by: by["A1", "20"].model_copy(update={"frozen": True}),
        "is not frozen",
    ),
    "not released": (lambda by: _moved(by["A2", "10"], -180), "before the release"),
    "no material": (lambda by: _moved(by["A3", "10"], -1_440), "before 'steel' is available"),
    "between ticks": (lambda by: _moved(by["A1", "20"], 0.5), "does not start at a tick"),
    "other segments": (
        lambda by: by["A1", "20"].model_copy(update={"segments": ()}),
        "segments that are not its span",
    ),
    "forgotten": (lambda _: None, "is not planned"),
}


BY_HAND: dict[tuple[str, str], tuple[str, list[tuple[float, float]]]] = {
    ("A1", "10"): ("press", [(360, 420), (450, 510)]),
    ("A2", "10"): ("press", [(510, 570)]),
    ("A1", "20"): ("oven", [(525, 615)]),
    ("A4", "10"): ("press", [(600, 650)]),
    ("A2", "20"): ("oven", [(615, 705)]),
    ("A3", "10"): ("press", [(650, 700)]),
}


def valid() -> tuple[ScheduleParameters, dict[tuple[str, str], Assignment]]:
    by: dict[tuple[str, str], Assignment] = {}
    for (order, operation), (resource, spans) in BY_HAND.items():
        parts = tuple(Segment(start=at(start), end=at(end)) for start, end in spans)
        by[order, operation] = Assignment(
            order=order,
            operation=operation,
            resource=resource,
            start=parts[0].start,
            end=parts[-1].end,
            segments=parts,
            frozen=order == "A4",
        )
    return task(SHOP, frozen_until=None, objectives=["setup", "makespan"]), by


def test_a_schedule_made_by_hand_is_valid_and_the_solver_finds_one_as_good() -> None:
    parameters, by = valid()
    made = list(by.values())
    assert broken(parameters, made) == []
    plan, problem = prepared(parameters)
    found = search(problem, None, deadline=time.monotonic() + 60, watch=Watch())
    assert found.schedule is not None
    assert broken(parameters, assignments(problem, found.schedule)) == []
    # Set-up of A2/20, A1/20 and A3, and one changeover; the last operation ends at 11:45.
    assert [(stage.value, stage.bound) for stage in found.stages] == [(260, 260), (705, 705)]
    claims = {Objective.SETUP: 260.0, Objective.MAKESPAN: 705.0}
    assert wrong_claims(plan, parameters, made, claims) == []
    assert len(wrong_claims(plan, parameters, made, {Objective.SETUP: 230.0})) == 1


@pytest.mark.parametrize("name", BREACHES)
def test_the_validator_finds(name: str) -> None:
    change, words = BREACHES[name]
    parameters, by = valid()
    changed = change(by)
    if changed is None:
        del by["A1", "20"]
    else:
        by[changed.order, changed.operation] = changed
    found = broken(parameters, list(by.values()))
    assert any(words in finding for finding in found), found
