"""Moves a schedule to the left or to the right without changing its sequences."""

from itertools import pairwise

from lineshaft_contracts.scheduling import Objective

from lineshaft_job_runner.types.scheduling.objectives import asked, completion
from lineshaft_job_runner.types.scheduling.problem import Operation, Placement, Problem, Schedule
from lineshaft_job_runner.types.scheduling.timelines import Workshop
from lineshaft_job_runner.types.scheduling.windows import Span


def compact(problem: Problem, schedule: Schedule) -> Schedule:
    """Return the same plan without needless waiting; no objective gets worse.

    To the left, unless the lead time is an objective: then to the right, each order up to its
    due date, or to where it ended when that is later.
    """
    if Objective.LEAD_TIME in asked(problem.parameters):
        return _to_the_right(problem, schedule)
    return _to_the_left(problem, schedule)


def _movable(problem: Problem) -> list[Operation]:
    return [operation for operation in problem.operations if operation.fixed is None]


def _to_the_left(problem: Problem, schedule: Schedule) -> Schedule:
    """Place everything as early as possible, in the order in which it starts.

    The old place is always free: what was placed before was not moved to the right.
    """
    workshop, moved = Workshop(problem), list(schedule)
    sequences = problem.sequences(schedule)
    behind = {after: before for s in sequences.values() for before, after in pairwise(s)}
    for operation in sorted(_movable(problem), key=lambda o: schedule[o.index].start):
        index = operation.index
        mode = operation.modes[schedule[index].mode]
        tick = max([operation.release, *(moved[i].end + operation.lag for i in operation.before)])
        if index in behind:
            tick = max(tick, moved[behind[index]].end)
        span = workshop.earliest(operation, mode, tick)
        if span is None or span.start > schedule[index].start:
            span = Span(schedule[index].start, schedule[index].end)
        workshop.place(operation, mode, span)
        moved[index] = Placement(schedule[index].mode, *span)
    return moved


def _to_the_right(problem: Problem, schedule: Schedule) -> Schedule:
    """Place everything as late as possible, in the reverse order in which it ends."""
    workshop, moved = Workshop(problem), list(schedule)
    end = max(placement.end for placement in schedule)
    limits = [
        max(completion(problem, schedule, index), min(order.due or 0, end))
        for index, order in enumerate(problem.orders)
    ]
    sequences = problem.sequences(schedule)
    ahead = {b: (m, a) for m, s in sequences.items() for b, a in pairwise(s)}
    for operation in sorted(_movable(problem), key=lambda o: -schedule[o.index].end):
        index = operation.index
        mode = operation.modes[schedule[index].mode]
        waiting = problem.after[index]
        tick = min(
            [limits[operation.order]]
            + [moved[i].start - problem.operations[i].lag for i in waiting]
        )
        if index in ahead:
            machine, after = ahead[index]
            tick = min(tick, _room(problem, machine, index, after, moved))
        span = workshop.latest(mode, tick)
        if span is None or span.start < schedule[index].start:
            span = Span(schedule[index].start, schedule[index].end)
        workshop.place(operation, mode, span)
        moved[index] = Placement(schedule[index].mode, *span)
    return moved


def _room(problem: Problem, machine: int, before: int, after: int, moved: list[Placement]) -> int:
    """Return the last tick at which an operation can end, so that the changeover fits."""
    ticks = problem.changeover(machine, before, after)
    start = moved[after].start
    if not ticks:
        return start
    room = problem.machines[machine].windows.latest(start, ticks, interruptible=True)
    return moved[before].end if room is None else room.start
