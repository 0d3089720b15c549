"""A plan whose operations share one calendar, in working time: there it has no calendar at all.

The search then has no breaks to go around, which makes it many times faster. What is elapsed time
(tardiness) is translated where it is asked for.
"""

from dataclasses import dataclass, replace

from lineshaft_contracts.scheduling import Objective

from lineshaft_job_runner.types.scheduling.objectives import asked
from lineshaft_job_runner.types.scheduling.problem import (
    Fixed,
    Mode,
    Operation,
    Placement,
    Problem,
    Schedule,
)
from lineshaft_job_runner.types.scheduling.windows import Span, Variant, Windows


@dataclass(frozen=True, kw_only=True)
class Folded:
    """The problem in working ticks, and the windows that were taken out of it."""

    problem: Problem
    windows: Windows

    def fold(self, schedule: Schedule) -> Schedule:
        """Translate a schedule into working time."""
        worked = self.windows.worked
        return [Placement(p.mode, worked(p.start), worked(p.end)) for p in schedule]

    def unfold(self, schedule: Schedule, original: Problem) -> Schedule:
        """Translate a schedule into elapsed time."""
        found: list[Placement] = []
        for operation in original.operations:
            placement = schedule[operation.index]
            if operation.fixed is not None:
                found.append(Placement(-1, *operation.fixed.span))
            else:
                start = (self.windows.finish(0, placement.start + 1) or 0) - 1
                found.append(Placement(placement.mode, start, self.elapsed(placement.end)))
        return found

    def elapsed(self, worked: int) -> int:
        """Return the tick at which so much working time is over."""
        return (self.windows.finish(0, worked) or 0) if worked > 0 else 0


def fold(problem: Problem) -> Folded | None:
    """Return the problem in working time, or None where that would not be the same problem."""
    windows = _shared(problem)
    if windows is None or len(windows.spans) < 2:
        return None
    if Objective.LEAD_TIME in asked(problem.parameters):
        return None
    whole = Windows([Span(0, windows.worked(problem.horizon))])
    folded = replace(
        problem,
        horizon=whole.spans[0].end,
        operations=tuple(_operation(o, windows, whole) for o in problem.operations),
        machines=tuple(replace(machine, windows=whole) for machine in problem.machines),
    )
    return Folded(problem=folded, windows=windows)


def _shared(problem: Problem) -> Windows | None:
    """Return the windows of all modes if they are the same ones, and nothing else counts time."""
    free = [operation for operation in problem.operations if operation.fixed is None]
    modes = [mode for operation in free for mode in operation.modes]
    if not modes or any(operation.lag for operation in free):
        return None
    found = modes[0].windows
    machines = [machine for machine in problem.machines if machine.changeovers is not None]
    if any(one.windows != found for one in (*modes, *machines)):
        return None
    # What is frozen outside of the working time would vanish from it.
    spans = [o.fixed.span for o in problem.operations if o.fixed is not None]
    if any(span.end > 0 and not found.within(max(0, span.start), span.end) for span in spans):
        return None
    return found


def _operation(operation: Operation, windows: Windows, whole: Windows) -> Operation:
    fixed = operation.fixed
    if fixed is not None:
        span = Span(windows.worked(fixed.span.start), windows.worked(fixed.span.end))
        fixed = Fixed(needs=fixed.needs, span=span, given=fixed.given)
    return replace(
        operation,
        release=windows.worked(operation.release),
        fixed=fixed,
        modes=tuple(_mode(mode, windows, whole) for mode in operation.modes),
    )


def _mode(mode: Mode, windows: Windows, whole: Windows) -> Mode:
    if mode.interruptible:
        return replace(mode, windows=whole)
    starts = tuple(
        Span(windows.worked(span.start), windows.worked(span.end - 1) + 1)
        for variant in mode.variants
        for span in variant.starts
    )
    return replace(mode, windows=whole, allowed=(Variant(mode.work, starts),))
