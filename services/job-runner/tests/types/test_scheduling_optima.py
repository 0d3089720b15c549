"""Optima that others published are proven, and a second engine agrees on random plans."""

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyjobshop
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.scheduling import Assignment, ScheduleParameters
from lineshaft_job_runner.types.scheduling.assigning import assignments
from lineshaft_job_runner.types.scheduling.building import build
from lineshaft_job_runner.types.scheduling.dispatching import dispatch
from lineshaft_job_runner.types.scheduling.refusing import obstacles
from lineshaft_job_runner.types.scheduling.search import Found, Watch, search
from lineshaft_job_runner.types.scheduling.validator import Validator

SHARED = Path(__file__).parents[5] / "shared" / "references" / "domain-data"
PUBLISHED = pytest.mark.skipif(not SHARED.exists(), reason="the published instances are absent")
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)
SECONDS_MAX = 600.0
"""For the proof; far more than it takes, so that a busy machine does not fail the test."""

Jobs = list[list[list[tuple[int, int]]]]
"""By job and operation: the alternatives as (machine, minutes)."""


def at(minutes: float) -> datetime:
    return MONDAY + timedelta(minutes=minutes)


def task(
    jobs: Jobs, *, resources: list[dict[str, Any]], orders: list[dict[str, Any]], **more: Any
) -> ScheduleParameters:
    """Write jobs as orders whose operations take their set-up time alone."""
    days = more.pop("days", 28)
    interruptible = more.pop("interruptible", True)
    routings = [
        {
            "id": f"R{number}",
            "operations": [
                {
                    "id": f"O{step}",
                    "interruptible": interruptible,
                    "changeover_group": f"G{number}",
                    "alternatives": [
                        {"resource": f"M{machine}", "setup_minutes": minutes}
                        for machine, minutes in ways
                    ],
                }
                for step, ways in enumerate(job)
            ],
        }
        for number, job in enumerate(jobs)
    ]
    named = [{"id": f"J{n}", "routing": f"R{n}", **order} for n, order in enumerate(orders)]
    plan = {"orders": named, "routings": routings, "resources": resources}
    plan |= {name: more.pop(name, []) for name in ("calendars", "changeovers")}
    return ScheduleParameters.model_validate(
        {
            "horizon_start": MONDAY,
            "horizon_end": MONDAY + timedelta(days=days),
            "plan": plan,
            **more,
        }
    )


def machines(jobs: Jobs, **more: Any) -> list[dict[str, Any]]:
    count = 1 + max(machine for job in jobs for ways in job for machine, _ in ways)
    return [{"id": f"M{number}", **more} for number in range(count)]


def solved(parameters: ScheduleParameters) -> tuple[Found, list[Assignment]]:
    """Search as the job does, and check what was found."""
    plan = parameters.plan
    assert plan is not None
    problem = build(plan, parameters)
    if obstacles(problem):
        return Found(schedule=None, stages=(), infeasible=True), []
    first = dispatch(problem)
    deadline = time.monotonic() + SECONDS_MAX
    found = search(problem, first and first.schedule, deadline=deadline, watch=Watch())
    if found.schedule is None:
        return found, []
    made = assignments(problem, found.schedule)
    assert Validator(plan, parameters).violations(made) == []
    return found, made


def proven(parameters: ScheduleParameters) -> int:
    """Return the optimum of one objective; its bound is equal."""
    found, _ = solved(parameters)
    (stage,) = found.stages
    assert stage.bound == stage.value
    return stage.value


def job_shop(name: str) -> ScheduleParameters:
    instance = json.loads((SHARED / "jobshop_instances.json").read_text("utf-8"))[name]
    routes = zip(instance["machines"], instance["durations"], strict=True)
    jobs = [[[step] for step in zip(*route, strict=True)] for route in routes]
    return task(jobs, resources=machines(jobs), orders=[{}] * len(jobs), objectives=["makespan"])


def flexible(name: str) -> ScheduleParameters:
    lines = (SHARED / "fjsp" / f"{name}.txt").read_text("utf-8").splitlines()
    jobs: Jobs = []
    for line in lines[1:]:
        numbers = iter([int(word) for word in line.split()])
        steps = next(numbers, 0)
        job = [
            [(next(numbers), next(numbers)) for _ in range(next(numbers))] for _ in range(steps)
        ]
        jobs += [job] if job else []
    return task(jobs, resources=machines(jobs), orders=[{}] * len(jobs), objectives=["makespan"])


def weighted_tardiness(number: int) -> ScheduleParameters:
    file = SHARED / "weighted_tardiness_wt40.json"
    instances = json.loads(file.read_text("utf-8"))["instances"]
    (instance,) = (one for one in instances if one["or_library_no"] == number)
    jobs: Jobs = [[[(0, minutes)]] for minutes in instance["p"]]
    orders = [
        {"due_at": at(due), "weight": weight}
        for due, weight in zip(instance["d"], instance["w"], strict=True)
    ]
    return task(jobs, resources=machines(jobs), orders=orders, objectives=["weighted_tardiness"])


@PUBLISHED
@pytest.mark.parametrize(
    ("name", "optimum"),
    [("ft06", 55), ("la01", 666), ("la02", 655), ("la03", 597), ("la04", 590), ("la05", 593)],
)
def test_a_job_shop_is_proven_optimal(name: str, optimum: int) -> None:
    assert proven(job_shop(name)) == optimum


@PUBLISHED
@pytest.mark.parametrize(("name", "optimum"), [("mk01", 40), ("mk03", 204), ("kacem_k1", 11)])
def test_a_flexible_job_shop_is_proven_optimal(name: str, optimum: int) -> None:
    assert proven(flexible(name)) == optimum


@PUBLISHED
def test_a_weighted_tardiness_is_proven_optimal() -> None:
    assert proven(weighted_tardiness(107)) == 516


SHIFT = {
    "weekdays": [1, 2, 3, 4, 5, 6, 7],
    "start": "08:00",
    "end": "16:00",
    "breaks": [{"start": "12:00", "end": "12:30"}],
}


@pytest.mark.parametrize(
    ("minutes", "interruptible", "expected"),
    [
        ([230], False, [(480, 710)]),
        ([600], True, [(480, 2_070)]),
        ([250], False, None),
        ([200, 200, 200], False, [(480, 680), (750, 950), (1_920, 2_120)]),
    ],
    ids="ABCD",
)
def test_the_cases_of_a_shift_calendar(
    minutes: list[int], interruptible: bool, expected: list[tuple[int, int]] | None
) -> None:
    # calendar_cases.json of the domain data: derived by hand, checked with PyJobShop 0.0.9.
    jobs: Jobs = [[[(0, one)]] for one in minutes]
    parameters = task(
        jobs,
        resources=machines(jobs, calendar="day"),
        orders=[{}] * len(jobs),
        objectives=["makespan"],
        calendars=[{"id": "day", "shifts": [SHIFT]}],
        horizon_end=at(3_360),
        interruptible=interruptible,
    )
    found, made = solved(parameters)
    if expected is None:
        assert found.infeasible
    else:
        assert found.stages[0].bound == found.stages[0].value
        assert [(one.start, one.end) for one in made] == [(at(s), at(e)) for s, e in expected]


@st.composite
def small_shops(draw: st.DrawFn) -> Jobs:
    alternatives = st.lists(
        st.tuples(st.integers(0, 2), st.integers(1, 90)),
        min_size=1,
        max_size=2,
        unique_by=lambda way: way[0],
    )
    jobs = draw(st.lists(st.lists(alternatives, min_size=1, max_size=3), min_size=2, max_size=4))
    return [*jobs, [[(2, 1)]]]


class Second:
    """The same plan for PyJobShop, which is built on the same solver but modelled by others."""

    def __init__(self, jobs: Jobs, resources: list[Any], model: pyjobshop.Model) -> None:
        self._model = model
        self._jobs = jobs
        self._resources = resources
        self.tasks: list[list[Any]] = []

    def add(self, orders: list[dict[str, Any]], *, interruptible: bool) -> None:
        for job, order in zip(self._jobs, orders, strict=True):
            due = order.get("due_at")
            entry = self._model.add_job(
                weight=order.get("weight", 1),
                due_date=None if due is None else (due - MONDAY) // timedelta(minutes=1),
            )
            tasks: list[Any] = []
            for ways in job:
                step = self._model.add_task(job=entry, allow_breaks=interruptible)
                for machine, minutes in ways:
                    place = self._resources[machine]
                    slots = None if isinstance(place, pyjobshop.Machine) else 1
                    self._model.add_mode(step, place, minutes, demands=slots)
                if tasks:
                    self._model.add_end_before_start(tasks[-1], step)
                tasks.append(step)
            self.tasks.append(tasks)

    def optimum(self) -> float:
        result = self._model.solve(display=False, time_limit=SECONDS_MAX, num_workers=1)
        assert result.status.value == "Optimal"
        return result.objective


AGREEMENT = settings(max_examples=12, deadline=None)


@given(small_shops(), st.booleans())
@AGREEMENT
def test_the_second_engine_agrees_on_makespan_over_breaks(jobs: Jobs, interruptible: bool) -> None:
    parameters = task(
        jobs,
        resources=machines(jobs, calendar="day"),
        orders=[{}] * len(jobs),
        objectives=["makespan"],
        calendars=[{"id": "day", "shifts": [SHIFT]}],
        days=14,
        workers=1,
        interruptible=interruptible,
    )
    breaks = [(0, 480)]
    for day in range(13):
        midnight = day * 1_440
        breaks += [(midnight + 720, midnight + 750), (midnight + 960, midnight + 1_920)]
    model = pyjobshop.Model()
    second = Second(jobs, [model.add_machine(breaks=breaks) for _ in range(3)], model)
    second.add([{}] * len(jobs), interruptible=interruptible)
    assert proven(parameters) == second.optimum()


@given(small_shops(), st.lists(st.tuples(st.integers(0, 300), st.integers(1, 9)), min_size=5))
@AGREEMENT
def test_the_second_engine_agrees_on_weighted_tardiness_with_slots(
    jobs: Jobs, wanted: list[tuple[int, int]]
) -> None:
    orders = [{"due_at": at(due), "weight": weight} for due, weight in wanted[: len(jobs)]]
    resources = [{"id": f"M{number}", "capacity": 1 + number} for number in range(3)]
    parameters = task(
        jobs, resources=resources, orders=orders, objectives=["weighted_tardiness"], workers=1
    )
    model = pyjobshop.Model()
    second = Second(jobs, [model.add_renewable(capacity=1 + number) for number in range(3)], model)
    second.add(orders, interruptible=False)
    model.set_objective(weight_total_tardiness=1)
    assert proven(parameters) == second.optimum()


@given(small_shops(), st.lists(st.integers(0, 60), min_size=25, max_size=25))
@AGREEMENT
def test_the_second_engine_agrees_on_makespan_with_changeovers(
    jobs: Jobs, minutes: list[int]
) -> None:
    count = len(jobs)
    between = {(b, a): minutes[b * 5 + a] for b in range(count) for a in range(count)}
    times = [
        {"from_group": f"G{b}", "to_group": f"G{a}", "minutes": one}
        for (b, a), one in between.items()
    ]
    parameters = task(
        jobs,
        resources=machines(jobs, changeover="colours"),
        orders=[{}] * count,
        objectives=["makespan"],
        changeovers=[{"id": "colours", "times": times}],
        workers=1,
    )
    model = pyjobshop.Model()
    places = [model.add_machine() for _ in range(3)]
    second = Second(jobs, places, model)
    second.add([{}] * count, interruptible=False)
    for (before, after), one in between.items():
        for place in places:
            for first in second.tasks[before]:
                for other in second.tasks[after]:
                    if first is not other:
                        model.add_setup_time(place, first, other, one)
    assert proven(parameters) == second.optimum()


@given(
    small_shops(),
    st.lists(st.tuples(st.integers(0, 2_500), st.integers(1, 9)), min_size=5),
    st.booleans(),
    st.sampled_from(["weighted_tardiness", "makespan", "setup"]),
)
@AGREEMENT
def test_working_time_and_elapsed_time_have_the_same_optimum(
    jobs: Jobs, wanted: list[tuple[int, int]], interruptible: bool, objective: str
) -> None:
    orders = [{"due_at": at(due), "weight": weight} for due, weight in wanted[: len(jobs)]]
    resources = machines(jobs, calendar="day", changeover="colours")
    # A way that is too long for the horizon, on a machine without breaks, changes nothing but
    # that the operations do not share one calendar any more.
    longer = [[[*ways, (3, 30_000)] for ways in job] for job in jobs]
    found = [
        proven(
            task(
                given_jobs,
                resources=given,
                orders=orders,
                objectives=[objective],
                calendars=[{"id": "day", "shifts": [SHIFT]}],
                changeovers=[{"id": "colours", "default_minutes": 35}],
                days=14,
                workers=1,
                interruptible=interruptible,
            )
        )
        for given_jobs, given in ((jobs, resources), (longer, [*resources, {"id": "M3"}]))
    ]
    assert found[0] == found[1]
