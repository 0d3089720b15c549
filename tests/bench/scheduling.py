"""How long the search takes to prove published optima, beside PyJobShop and dispatching."""

import argparse
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyjobshop
from lineshaft_contracts.scheduling import Objective, ScheduleParameters
from lineshaft_job_runner.types.scheduling.building import build
from lineshaft_job_runner.types.scheduling.dispatching import dispatch
from lineshaft_job_runner.types.scheduling.objectives import value
from lineshaft_job_runner.types.scheduling.search import Watch, search

from . import report

DATA = Path(__file__).parents[3] / "shared" / "references" / "domain-data"
START = datetime(2026, 11, 23, tzinfo=UTC)
INSTANCES = (
    ("ft06", 55), ("la01", 666), ("la02", 655), ("la03", 597), ("la04", 590), ("la05", 593),
    ("mk01", 40), ("mk02", 26), ("mk03", 204), ("ft20", 1165), ("ft10", 930),
    ("wt40-3", 537), ("wt40-107", 516),
)  # fmt: skip

Jobs = list[list[list[tuple[int, int]]]]
Due = list[tuple[int, int]]
"""(due, weight) by job."""


def main() -> None:
    """Solve each instance with both, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="cap for each proof")
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=1, help="the median of so many counts")
    parser.add_argument("--only", nargs="*", default=[name for name, _ in INSTANCES])
    options = parser.parse_args()
    if not DATA.exists():
        raise SystemExit(f"the instances are not in {DATA.name}")
    rows = [
        [
            "instance",
            "optimum",
            "ours: s (CPU s)",
            "PyJobShop: s (CPU s)",
            "CPU ratio",
            "best rule",
            "above",
        ]
    ]
    for name, optimum in INSTANCES:
        if name in options.only:
            rows.append(_row(name, optimum, options))
    report.show(rows)


def _row(name: str, optimum: int, options: argparse.Namespace) -> list[str]:
    jobs, due = _instance(name)
    ours = _median(options.rounds, lambda: _ours(jobs, due, options, optimum))
    theirs = _median(options.rounds, lambda: _theirs(jobs, due, options, optimum))
    rule, dispatched = _dispatched(jobs, due)
    row = {
        "instance": name,
        "optimum": optimum,
        "ours": ours,
        "pyjobshop": theirs,
        "rule": rule,
        "dispatched": dispatched,
    }
    report.write("scheduling", row)
    ratio = f"{theirs[1] / ours[1]:.1f}" if ours and theirs else "-"
    above = f"{(dispatched / optimum - 1):.0%}"
    shown = [_shown(ours), _shown(theirs), ratio, f"{rule}: {dispatched}", above]
    return [name, str(optimum), *shown]


Proof = tuple[float, float]
"""Seconds, and seconds of processors: the fairer ones on a busy machine."""


def _shown(proof: Proof | None) -> str:
    if proof is None:
        return "not proven"
    return f"{report.number(proof[0])} ({report.number(proof[1])})"


def _median(rounds: int, proved: Callable[[], bool]) -> Proof | None:
    """Measure proofs; None when one of them failed."""
    proofs: list[Proof] = []
    for _ in range(rounds):
        started, processor = time.perf_counter(), time.process_time()
        if not proved():
            return None
        proofs.append((time.perf_counter() - started, time.process_time() - processor))
    return sorted(proofs, key=lambda proof: proof[1])[rounds // 2]


def _ours(jobs: Jobs, due: Due, options: argparse.Namespace, optimum: int) -> bool:
    parameters = _parameters(jobs, due, workers=options.workers)
    if parameters.plan is None:
        raise ValueError("the plan is given")
    problem = build(parameters.plan, parameters)
    first = dispatch(problem)
    deadline = time.monotonic() + options.seconds
    found = search(problem, first and first.schedule, deadline=deadline, watch=Watch())
    (stage,) = found.stages
    return stage.value == stage.bound == optimum


def _theirs(jobs: Jobs, due: Due, options: argparse.Namespace, optimum: int) -> bool:
    model = pyjobshop.Model()
    places = [model.add_machine() for _ in range(_machines(jobs))]
    for number, job in enumerate(jobs):
        wanted, weight = due[number] if due else (None, 1)
        entry, before = model.add_job(weight=weight, due_date=wanted), None
        for ways in job:
            task = model.add_task(job=entry)
            for machine, minutes in ways:
                model.add_mode(task, places[machine], minutes)
            if before is not None:
                model.add_end_before_start(before, task)
            before = task
    if due:
        model.set_objective(weight_total_tardiness=1)
    result = model.solve(display=False, time_limit=options.seconds, num_workers=options.workers)
    return result.status.value == "Optimal" and result.objective == optimum


def _dispatched(jobs: Jobs, due: Due) -> tuple[str, int]:
    parameters = _parameters(jobs, due, workers=1)
    if parameters.plan is None:
        raise ValueError("the plan is given")
    problem = build(parameters.plan, parameters)
    first = dispatch(problem)
    if first is None:
        raise ValueError("no rule finds a place for everything")
    objective = Objective.WEIGHTED_TARDINESS if due else Objective.MAKESPAN
    return first.rule.value, value(problem, first.schedule, objective)


def _machines(jobs: Jobs) -> int:
    return 1 + max(machine for job in jobs for ways in job for machine, _ in ways)


def _parameters(jobs: Jobs, due: Due, *, workers: int) -> ScheduleParameters:
    def at(minutes: int) -> datetime:
        return START + timedelta(minutes=minutes)

    routings = [
        {
            "id": f"R{number}",
            "operations": [
                {
                    "id": f"O{step}",
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
    orders = [{"id": f"J{number}", "routing": f"R{number}"} for number in range(len(jobs))]
    wanted = [{"due_at": at(day), "weight": weight} for day, weight in due] or [{} for _ in jobs]
    plan: dict[str, Any] = {
        "orders": [order | more for order, more in zip(orders, wanted, strict=True)],
        "routings": routings,
        "resources": [{"id": f"M{number}"} for number in range(_machines(jobs))],
    }
    objective = Objective.WEIGHTED_TARDINESS if due else Objective.MAKESPAN
    return ScheduleParameters.model_validate(
        {"horizon_start": START, "plan": plan, "objectives": [objective], "workers": workers}
    )


def _instance(name: str) -> tuple[Jobs, Due]:
    if name.startswith("wt40"):
        file = (DATA / "weighted_tardiness_wt40.json").read_text("utf-8")
        number = int(name.rpartition("-")[2])
        (one,) = (x for x in json.loads(file)["instances"] if x["or_library_no"] == number)
        return [[[(0, p)]] for p in one["p"]], list(zip(one["d"], one["w"], strict=True))
    if name.startswith("mk"):
        return _flexible((DATA / "fjsp" / f"{name}.txt").read_text("utf-8")), []
    one = json.loads((DATA / "jobshop_instances.json").read_text("utf-8"))[name]
    routes = zip(one["machines"], one["durations"], strict=True)
    return [[[step] for step in zip(*route, strict=True)] for route in routes], []


def _flexible(text: str) -> Jobs:
    jobs: Jobs = []
    for line in text.splitlines()[1:]:
        numbers = iter([int(word) for word in line.split()])
        steps = next(numbers, 0)
        job = [
            [(next(numbers), next(numbers)) for _ in range(next(numbers))] for _ in range(steps)
        ]
        jobs += [job] if job else []
    return jobs
