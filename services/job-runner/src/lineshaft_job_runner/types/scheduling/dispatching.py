"""First schedules by dispatching rules: what a good planner would do by hand, in milliseconds."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from math import exp
from typing import NamedTuple

from lineshaft_job_runner.types.scheduling.objectives import values
from lineshaft_job_runner.types.scheduling.problem import Operation, Placement, Problem, Schedule
from lineshaft_job_runner.types.scheduling.timelines import Workshop
from lineshaft_job_runner.types.scheduling.windows import Span

NEVER = 2**60
LOOK_AHEAD = 2.0
"""Of the apparent tardiness cost: slack counts by so many average operations."""


class Rule(StrEnum):
    """Which of the operations that compete for a machine goes first."""

    EARLIEST_DUE_DATE = "earliest-due-date"
    LEAST_SLACK = "least-slack"
    APPARENT_TARDINESS = "apparent-tardiness-cost"
    WEIGHTED_SHORTEST = "weighted-shortest-processing-time"
    MOST_WORK_REMAINING = "most-work-remaining"
    SHORTEST = "shortest-processing-time"
    FIRST_COME = "first-come-first-served"
    SAME_GROUP = "same-changeover-group"


class Dispatched(NamedTuple):
    """A schedule and the rule that made it."""

    rule: Rule
    schedule: Schedule


class _Offer(NamedTuple):
    """The earliest end of an operation as things are."""

    span: Span
    mode: int


def dispatch(
    problem: Problem,
    *,
    stopped: Callable[[], bool] = lambda: False,
    enough: Callable[[], bool] = lambda: False,
) -> Dispatched | None:
    """Return the best schedule of all rules; None when none finds a place for everything.

    `stopped` ends a rule in the middle, `enough` one that is not the first to succeed.
    """
    best: tuple[tuple[int, ...], Dispatched] | None = None
    for rule in Rule:
        done = best is not None
        if stopped() or (done and enough()):
            break
        schedule = _Pass(problem, rule).schedule(
            lambda done=done: stopped() or (done and enough())
        )
        if schedule is not None:
            worth = values(problem, schedule)
            if best is None or worth < best[0]:
                best = worth, Dispatched(rule, schedule)
    return best and best[1]


def dispatch_by(problem: Problem, rule: Rule) -> Schedule | None:
    """Return the schedule of one rule."""
    return _Pass(problem, rule).schedule(lambda: False)


class _Pass:
    """One active schedule after Giffler and Thompson (Operations Research 8, 1960).

    Of the operations that can be next, the one that could end first decides on the machine;
    among those that could start there before that end, the rule chooses.
    """

    def __init__(self, problem: Problem, rule: Rule) -> None:
        self._problem = problem
        self._workshop = Workshop(problem)
        self._placed: list[Placement | None] = [None] * len(problem.operations)
        self._remaining = _work_remaining(problem)
        works = [min(mode.work for mode in o.modes) for o in problem.operations]
        self._average = sum(works) / len(works)
        self._key = self._keys()[rule]
        self._offers: dict[int, _Offer] = {}
        self._last_group: dict[int, str | None] = {
            index: machine.initial_group for index, machine in enumerate(problem.machines)
        }

    def schedule(self, stopped: Callable[[], bool]) -> Schedule | None:
        """Place everything, or return None."""
        for operation in self._problem.operations:
            if operation.fixed is not None:
                self._placed[operation.index] = Placement(-1, *operation.fixed.span)
        waiting = {o.index for o in self._problem.operations if o.fixed is None}
        ready = {index for index in waiting if self._is_ready(index)}
        while ready:
            if stopped() or not self._make_offers(ready):
                return None
            chosen = self._choose(ready)
            self._place(chosen, ready)
            waiting.discard(chosen)
            ready.discard(chosen)
            ready |= {i for i in self._problem.after[chosen] if i in waiting and self._is_ready(i)}
        return [placement for placement in self._placed if placement is not None]

    def _is_ready(self, index: int) -> bool:
        before = self._problem.operations[index].before
        return all(self._placed[other] is not None for other in before)

    def _make_offers(self, ready: set[int]) -> bool:
        """Find the earliest end of each; False when one has no place at all."""
        for index in ready:
            if index not in self._offers:
                offer = self._offer(self._problem.operations[index])
                if offer is None:
                    return False
                self._offers[index] = offer
        return True

    def _offer(self, operation: Operation) -> _Offer | None:
        ends = [placed.end for i in operation.before if (placed := self._placed[i])]
        tick = max(operation.release, *(end + operation.lag for end in ends), 0)
        best: _Offer | None = None
        for number, mode in enumerate(operation.modes):
            span = self._workshop.earliest(operation, mode, tick)
            if span is not None and (best is None or span.end < best.span.end):
                best = _Offer(span, number)
        return best

    def _choose(self, ready: set[int]) -> int:
        first = min(ready, key=lambda i: (self._offers[i].span.end, i))
        offer = self._offers[first]
        machine = self._problem.operations[first].modes[offer.mode].resource
        rivals = [
            index
            for index in ready
            if self._machine(index) == machine and self._offers[index].span.start < offer.span.end
        ]
        return min(rivals, key=lambda index: (*self._key(index), index))

    def _machine(self, index: int) -> int:
        return self._problem.operations[index].modes[self._offers[index].mode].resource

    def _place(self, index: int, ready: set[int]) -> None:
        operation, offer = self._problem.operations[index], self._offers[index]
        mode = operation.modes[offer.mode]
        self._workshop.place(operation, mode, offer.span)
        self._placed[index] = Placement(offer.mode, *offer.span)
        self._last_group[mode.resource] = operation.group
        taken = {need.resource for need in mode.needs}
        for other in ready:
            modes = self._problem.operations[other].modes
            if any(need.resource in taken for rival in modes for need in rival.needs):
                self._offers.pop(other, None)

    def _keys(self) -> Mapping[Rule, Callable[[int], tuple[float, ...]]]:
        return {
            Rule.EARLIEST_DUE_DATE: lambda i: (self._due(i), -self._weight(i)),
            Rule.LEAST_SLACK: lambda i: (
                self._due(i) - self._offers[i].span.start - self._remaining[i],
                -self._weight(i),
            ),
            Rule.APPARENT_TARDINESS: lambda i: (-self._apparent_tardiness(i), self._due(i)),
            Rule.WEIGHTED_SHORTEST: lambda i: (-self._weight(i) / self._work(i), self._due(i)),
            Rule.MOST_WORK_REMAINING: lambda i: (-self._remaining[i],),
            Rule.SHORTEST: lambda i: (self._work(i), self._due(i)),
            Rule.FIRST_COME: lambda i: (self._offers[i].span.start, self._due(i)),
            Rule.SAME_GROUP: lambda i: (self._changes_over(i), self._due(i)),
        }

    def _due(self, index: int) -> int:
        due = self._problem.orders[self._problem.operations[index].order].due
        return NEVER if due is None else due

    def _weight(self, index: int) -> int:
        return self._problem.orders[self._problem.operations[index].order].weight

    def _work(self, index: int) -> int:
        return self._problem.operations[index].modes[self._offers[index].mode].work

    def _apparent_tardiness(self, index: int) -> float:
        """Weight by work, less the more slack there is; Vepsalainen and Morton, 1987."""
        work = self._work(index)
        slack = self._due(index) - self._offers[index].span.start - self._remaining[index]
        return self._weight(index) / work * exp(-max(0, slack) / (LOOK_AHEAD * self._average))

    def _changes_over(self, index: int) -> bool:
        return self._last_group[self._machine(index)] != self._problem.operations[index].group


def _work_remaining(problem: Problem) -> list[int]:
    """Return for each operation the shortest work of it and of all that wait for it in turn."""
    remaining = [min(mode.work for mode in o.modes) for o in problem.operations]
    for operation in reversed(problem.operations):
        following = [remaining[index] for index in problem.after[operation.index]]
        remaining[operation.index] += max(following, default=0)
    return remaining
