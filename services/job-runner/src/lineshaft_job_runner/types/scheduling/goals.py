"""Objectives as variables of the constraint model, in ticks."""

from bisect import bisect_left
from collections.abc import Callable
from functools import partial

from lineshaft_contracts.scheduling import Objective
from ortools.sat.python.cp_model import IntVar, LinearExpr

from lineshaft_job_runner.types.scheduling.model import ScheduleModel
from lineshaft_job_runner.types.scheduling.objectives import completion
from lineshaft_job_runner.types.scheduling.problem import Problem, Schedule
from lineshaft_job_runner.types.scheduling.windows import Windows

LARGEST = 2**50


class Goals:
    """Objectives of one model, made on demand, and the hints that complete that of a schedule.

    `windows` are those of a model in working time: tardiness is elapsed time nevertheless.
    """

    def __init__(
        self, schedule_model: ScheduleModel, problem: Problem, windows: Windows | None
    ) -> None:
        self._schedule_model = schedule_model
        self._model = schedule_model.model
        self._problem = problem
        """In elapsed time."""
        self._windows = windows
        self._hints: list[tuple[IntVar, Callable[[Schedule], int]]] = []

    def add(self, objective: Objective) -> IntVar:
        """Return a variable that is at least the objective; minimised, it is the objective."""
        match objective:
            case Objective.MAKESPAN:
                return self._makespan()
            case Objective.WEIGHTED_TARDINESS:
                return self._total(self._tardiness())
            case Objective.SETUP:
                return self._total(self._schedule_model.setup())
            case Objective.LEAD_TIME:
                return self._total(self._lead_times())

    def hint(self, schedule: Schedule) -> None:
        """Hint all variables between the schedule, in elapsed time, and the objectives."""
        for variable, reading in self._hints:
            self._model.add_hint(variable, reading(schedule))

    def _makespan(self) -> IntVar:
        problem = self._schedule_model.problem
        fixed = [o.fixed.span.end for o in problem.operations if o.fixed is not None]
        makespan = self._model.new_int_var(max([0, *fixed]), max([problem.horizon, *fixed]), "")
        for lasts in problem.lasts:
            for index in lasts:
                self._model.add(makespan >= self._schedule_model.ends[index])
        # Redundant, and what proves bounds when operations can choose their machine.
        for resource, load in self._schedule_model.loads.items():
            self._model.add(sum(load) <= problem.machines[resource].capacity * makespan)
        return makespan

    def _tardiness(self) -> list[LinearExpr]:
        fixed = [o.fixed.span.end for o in self._problem.operations if o.fixed is not None]
        end = max([self._problem.horizon, *fixed])
        terms: list[LinearExpr] = []
        for number, order in enumerate(self._problem.orders):
            due = order.due
            if due is None or not order.weight:
                continue
            late = self._model.new_int_var(0, max(0, end - due), "")
            self._hints.append((late, partial(self._lateness, number, due)))
            for index in self._problem.lasts[number]:
                if self._windows is None:
                    self._model.add(late >= self._schedule_model.ends[index] - due)
                else:
                    self._add_elapsed(late, index, due, self._windows)
            terms.append(order.weight * late)
        return terms

    def _lateness(self, order: int, due: int, schedule: Schedule) -> int:
        return max(0, completion(self._problem, schedule, order) - due)

    def _add_elapsed(self, late: IntVar, index: int, due: int, windows: Windows) -> None:
        """Keep `late` at least the elapsed time from a due date to an end in working time.

        In each window the two clocks differ by the time that was closed before it. Earlier
        windows give weaker bounds, so that only ends beyond a window's start have to be told
        apart.
        """
        ended = self._schedule_model.ends[index]
        early, latest = self._schedule_model.range_of_end(index)
        first = max(0, bisect_left(windows.spans, (due,)) - 1)
        for number, span in enumerate(windows.spans[first:], start=first):
            worked = windows.worked(span.start)
            if worked >= latest:
                return
            later = self._model.add(late >= ended + (span.start - worked) - due)
            if number > first and worked >= early:
                beyond = self._model.new_bool_var("")
                later.only_enforce_if(beyond)
                before = self._model.add(ended <= worked)
                before.only_enforce_if(~beyond)  # pyright: ignore[reportArgumentType]
                self._hints.append((beyond, partial(_ends_after, index, span.start)))

    def _lead_times(self) -> list[LinearExpr]:
        problem = self._problem
        fixed = [o.fixed.span for o in problem.operations if o.fixed is not None]
        begin = min([0, *(span.start for span in fixed)])
        end = max([problem.horizon, *(span.end for span in fixed)])
        terms: list[LinearExpr] = []
        for number, order in enumerate(problem.orders):
            due = order.due or 0
            last = self._model.new_int_var(due, max(due, end), "")
            first = self._model.new_int_var(begin, end, "")
            for index in problem.lasts[number]:
                self._model.add(last >= self._schedule_model.ends[index])
            for index in order.operations:
                self._model.add(first <= self._schedule_model.starts[index])
            self._hints.append((last, partial(self._last, number, due)))
            self._hints.append((first, partial(_first, order.operations)))
            terms.append(last - first)
        return terms

    def _last(self, order: int, due: int, schedule: Schedule) -> int:
        return max(due, completion(self._problem, schedule, order))

    def _total(self, terms: list[LinearExpr]) -> IntVar:
        total = self._model.new_int_var(-LARGEST, LARGEST, "")
        self._model.add(total == sum(terms))
        return total


def _first(operations: range, schedule: Schedule) -> int:
    return min(schedule[index].start for index in operations)


def _ends_after(index: int, tick: int, schedule: Schedule) -> int:
    return int(schedule[index].end > tick)
