"""How early and how late each operation can be at all, whatever the others take."""

from dataclasses import dataclass

from lineshaft_contracts.scheduling import Objective

from lineshaft_job_runner.types.scheduling.problem import Operation, Problem
from lineshaft_job_runner.types.scheduling.windows import Span

NEVER = 2**60


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """By index of the operation, in ticks; NEVER or -NEVER where there is no place."""

    starts: list[int]
    """Earliest starts."""
    ends: list[int]
    """Earliest ends."""
    latest_starts: list[int]
    latest_ends: list[int]

    def possible(self, index: int) -> bool:
        """Tell whether the operation has a place."""
        return self.ends[index] <= self.latest_ends[index]


def bounds(problem: Problem) -> Bounds:
    """Return the times between which each operation fits into its calendars and its order."""
    earliest: list[Span] = []
    for operation in problem.operations:
        earliest.append(_earliest(operation, earliest))
    latest = [Span(NEVER, NEVER)] * len(problem.operations)
    for operation in reversed(problem.operations):
        waiting = [
            latest[i].start - problem.operations[i].lag for i in problem.after[operation.index]
        ]
        latest[operation.index] = _latest(operation, min([problem.horizon, *waiting]))
    return Bounds(
        starts=[span.start for span in earliest],
        ends=[span.end for span in earliest],
        latest_starts=[span.start for span in latest],
        latest_ends=[span.end for span in latest],
    )


def floor_of(problem: Problem, limits: Bounds, objective: Objective) -> int:
    """Return a value that no schedule is below; a dispatching rule that reaches it is proven."""
    match objective:
        case Objective.MAKESPAN:
            return max([0, *limits.ends])
        case Objective.WEIGHTED_TARDINESS:
            return sum(
                order.weight * max(0, limits.ends[index] - order.due)
                for order, lasts in zip(problem.orders, problem.lasts, strict=True)
                if order.due is not None
                for index in [max(lasts, key=lambda last: limits.ends[last])]
            )
        case Objective.SETUP:
            free = [o for o in problem.operations if o.fixed is None]
            return sum(min(mode.setup for mode in o.modes) for o in free)
        case Objective.LEAD_TIME:
            return -NEVER


def _earliest(operation: Operation, earliest: list[Span]) -> Span:
    if operation.fixed is not None:
        return operation.fixed.span
    ready = [earliest[index].end + operation.lag for index in operation.before]
    tick = max([operation.release, *ready])
    spans = [
        mode.windows.earliest(tick, mode.work, interruptible=mode.interruptible)
        for mode in operation.modes
    ]
    return Span(
        min((span.start for span in spans if span is not None), default=NEVER),
        min((span.end for span in spans if span is not None), default=NEVER),
    )


def _latest(operation: Operation, tick: int) -> Span:
    if operation.fixed is not None:
        return operation.fixed.span
    spans = [
        mode.windows.latest(tick, mode.work, interruptible=mode.interruptible)
        for mode in operation.modes
    ]
    return Span(
        max((span.start for span in spans if span is not None), default=-NEVER),
        max((span.end for span in spans if span is not None), default=-NEVER),
    )
