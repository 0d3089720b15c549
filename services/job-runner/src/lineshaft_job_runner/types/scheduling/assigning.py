"""A schedule as people read it: instants instead of ticks, with segments and key figures."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from lineshaft_contracts.scheduling import Assignment, LateOrder, Segment, Utilisation
from lineshaft_contracts.scheduling_plan import Plan

from lineshaft_job_runner.types.scheduling.problem import Operation, Placement, Problem, Schedule
from lineshaft_job_runner.types.scheduling.windows import Span


def assignments(problem: Problem, schedule: Schedule) -> list[Assignment]:
    """Return every operation with its segments, by start."""
    found = [_assignment(problem, o, schedule[o.index]) for o in problem.operations]
    return sorted(found, key=lambda one: (one.start, one.end, one.resource, one.order))


def _assignment(problem: Problem, operation: Operation, placement: Placement) -> Assignment:
    order = problem.orders[operation.order].id
    if operation.fixed is not None:
        given = operation.fixed.given
        return Assignment(
            order=order,
            operation=operation.id,
            resource=given.resource,
            start=given.start,
            end=given.end,
            segments=(Segment(start=given.start, end=given.end),),
            frozen=True,
        )
    mode = operation.modes[placement.mode]
    return Assignment(
        order=order,
        operation=operation.id,
        resource=problem.machines[mode.resource].id,
        start=problem.clock.moment(placement.start),
        end=problem.clock.moment(placement.end),
        segments=tuple(
            Segment(start=problem.clock.moment(part.start), end=problem.clock.moment(part.end))
            for part in mode.windows.cut(placement.start, placement.end)
        ),
    )


def late_orders(plan: Plan, made: Sequence[Assignment]) -> list[LateOrder]:
    """Return the orders that end after their due date, the latest first."""
    ends: dict[str, datetime] = {}
    for one in made:
        ends[one.order] = max(one.end, ends.get(one.order, one.end))
    late = [
        LateOrder(
            order=order.id,
            due_at=order.due_at,
            finished_at=ends[order.id],
            late_minutes=(ends[order.id] - order.due_at).total_seconds() / 60,
            weight=order.weight,
        )
        for order in plan.orders
        if order.due_at is not None and ends[order.id] > order.due_at
    ]
    return sorted(late, key=lambda one: (-one.late_minutes, one.order))


def utilisation(problem: Problem, schedule: Schedule) -> list[Utilisation]:
    """Return how much of its working time each resource is in use, the most used first."""
    last = max([0, *(placement.end for placement in schedule)])
    busy: dict[int, int] = defaultdict(int)
    for operation in problem.operations:
        placement = schedule[operation.index]
        span = Span(max(0, placement.start), placement.end)
        for need in problem.needs(operation, placement):
            windows = problem.machines[need.resource].windows
            if operation.fixed is None:
                windows = operation.modes[placement.mode].windows
            busy[need.resource] += need.quantity * windows.within(*span)
    minutes = problem.clock.tick_seconds / 60
    rows: list[Utilisation] = []
    for index, machine in enumerate(problem.machines):
        there = machine.windows.worked(last) * machine.capacity
        rows.append(
            Utilisation(
                resource=machine.id,
                busy_minutes=busy[index] * minutes,
                open_minutes=there * minutes,
                ratio=busy[index] / there if there else None,
            )
        )
    return sorted(rows, key=lambda row: (-(row.ratio or 0), row.resource))


def moved(plan: Plan, made: Sequence[Assignment]) -> int:
    """Count the assignments in force that the schedule changes."""
    there = {(one.order, one.operation): (one.resource, one.start, one.end) for one in made}
    return sum(
        there[given.order, given.operation] != (given.resource, given.start, given.end)
        for given in plan.assignments
    )
