"""Objectives as variables of the constraint model, in ticks."""

from bisect import bisect_left

from lineshaft_contracts.scheduling import Objective
from ortools.sat.python.cp_model import IntVar, LinearExpr

from lineshaft_job_runner.types.scheduling.model import ScheduleModel
from lineshaft_job_runner.types.scheduling.windows import Windows

LARGEST = 2**50


def goal(
    schedule_model: ScheduleModel, objective: Objective, windows: Windows | None = None
) -> IntVar:
    """Return a variable that is at least the objective; minimised, it is the objective.

    `windows` are those of a model in working time: tardiness is elapsed time nevertheless.
    """
    match objective:
        case Objective.MAKESPAN:
            return _makespan(schedule_model)
        case Objective.WEIGHTED_TARDINESS:
            return _total(schedule_model, _tardiness(schedule_model, windows))
        case Objective.SETUP:
            return _total(schedule_model, schedule_model.setup())
        case Objective.LEAD_TIME:
            return _total(schedule_model, _lead_times(schedule_model))


def _makespan(schedule_model: ScheduleModel) -> IntVar:
    problem, model = schedule_model.problem, schedule_model.model
    fixed = [o.fixed.span.end for o in problem.operations if o.fixed is not None]
    makespan = model.new_int_var(max([0, *fixed]), max([problem.horizon, *fixed]), "")
    for lasts in problem.lasts:
        for index in lasts:
            model.add(makespan >= schedule_model.ends[index])
    # Redundant, and what proves bounds when operations can choose their machine.
    for resource, load in schedule_model.loads.items():
        model.add(sum(load) <= problem.machines[resource].capacity * makespan)
    return makespan


def _tardiness(schedule_model: ScheduleModel, windows: Windows | None) -> list[LinearExpr]:
    problem, model = schedule_model.problem, schedule_model.model
    fixed = [o.fixed.span.end for o in problem.operations if o.fixed is not None]
    end = max([problem.horizon, *fixed])
    if windows is not None:
        end = max([end, *(span.end for span in windows.spans)])
    terms: list[LinearExpr] = []
    for order, lasts in zip(problem.orders, problem.lasts, strict=True):
        if order.due is None or not order.weight:
            continue
        late = model.new_int_var(0, max(0, end - order.due), "")
        for index in lasts:
            if windows is None:
                model.add(late >= schedule_model.ends[index] - order.due)
            else:
                _add_elapsed(schedule_model, late, index, order.due, windows)
        terms.append(order.weight * late)
    return terms


def _add_elapsed(
    schedule_model: ScheduleModel, late: IntVar, index: int, due: int, windows: Windows
) -> None:
    """Keep `late` at least the elapsed time from a due date to an end in working time.

    In each window the two clocks differ by the time that was closed before it. Earlier windows
    give weaker bounds, so that only ends beyond a window's start have to be told apart.
    """
    model, ended = schedule_model.model, schedule_model.ends[index]
    early, latest = schedule_model.range_of_end(index)
    first = max(0, bisect_left(windows.spans, (due,)) - 1)
    for number, span in enumerate(windows.spans[first:], start=first):
        worked = windows.worked(span.start)
        if worked >= latest:
            return
        later = model.add(late >= ended + (span.start - worked) - due)
        if number > first and worked >= early:
            beyond = model.new_bool_var("")
            later.only_enforce_if(beyond)
            model.add(ended <= worked).only_enforce_if(~beyond)  # pyright: ignore[reportArgumentType]


def _lead_times(schedule_model: ScheduleModel) -> list[LinearExpr]:
    problem, model = schedule_model.problem, schedule_model.model
    fixed = [o.fixed.span for o in problem.operations if o.fixed is not None]
    begin = min([0, *(span.start for span in fixed)])
    end = max([problem.horizon, *(span.end for span in fixed)])
    terms: list[LinearExpr] = []
    for order, lasts in zip(problem.orders, problem.lasts, strict=True):
        due = order.due or 0
        last = model.new_int_var(due, max(due, end), "")
        first = model.new_int_var(begin, end, "")
        for index in lasts:
            model.add(last >= schedule_model.ends[index])
        for index in order.operations:
            model.add(first <= schedule_model.starts[index])
        terms.append(last - first)
    return terms


def _total(schedule_model: ScheduleModel, terms: list[LinearExpr]) -> IntVar:
    total = schedule_model.model.new_int_var(-LARGEST, LARGEST, "")
    schedule_model.model.add(total == sum(terms))
    return total
