"""Why a plan that looks possible is not: orders that exclude each other, and what would help."""

import time
from collections.abc import Iterator
from datetime import timedelta

from lineshaft_contracts.scheduling import ScheduleParameters
from lineshaft_contracts.scheduling_plan import Plan
from ortools.sat.python import cp_model

from lineshaft_job_runner.types.scheduling.building import build
from lineshaft_job_runner.types.scheduling.dispatching import dispatch
from lineshaft_job_runner.types.scheduling.model import ScheduleModel
from lineshaft_job_runner.types.scheduling.problem import Problem
from lineshaft_job_runner.types.scheduling.refusing import indispensable, obstacles
from lineshaft_job_runner.types.scheduling.search import SOLVED, Watch, new_solver

SECONDS_MAX = 20.0
SOLVE_SECONDS_MAX = 4.0
NAMED_MAX = 10


class Explanation:
    """Questions about an infeasible plan, each answered within a few seconds or not at all."""

    def __init__(self, plan: Plan, problem: Problem, watch: Watch) -> None:
        self._plan = plan
        self._problem = problem
        self._watch = watch
        self._deadline = time.monotonic() + SECONDS_MAX

    def reasons(self) -> list[str]:
        """Return the obstacles, else the conflict that the search met; and what would help."""
        found = obstacles(self._problem) or [self._conflict()]
        return [*found, *self._remedies()]

    def _conflict(self) -> str:
        orders = self._core()
        resources = self._shared_by(orders)
        names = [self._problem.orders[index].id for index in orders]
        shown = ", ".join(names[:NAMED_MAX])
        more = f" and {len(names) - NAMED_MAX} more" if len(names) > NAMED_MAX else ""
        if len(names) == 1:
            needs = f"; it needs {', '.join(resources)}" if resources else ""
            return (
                f"order {shown} cannot be finished within the horizon with what is frozen{needs}"
            )
        needs = f"; they share {', '.join(resources)}" if resources else ""
        return (
            f"orders {shown}{more} cannot all be finished in the horizon with what is frozen"
            f"{needs}"
        )

    def _core(self) -> list[int]:
        """Return orders that cannot be planned together; without any one they can, or nearly."""
        core = self._refuted(list(range(len(self._problem.orders)))) or []
        for order in list(core) if len(core) <= NAMED_MAX * 4 else ():
            fewer = self._refuted([other for other in core if other != order])
            if fewer is not None and order in core:
                core = fewer
        return core

    def _refuted(self, orders: list[int]) -> list[int] | None:
        """Return those of the orders that already contradict each other; None if unknown."""
        solver = self._solver()
        if solver is None or not orders:
            return None
        schedule_model = ScheduleModel(self._problem, droppable=True)
        literals = {schedule_model.kept[order].index: order for order in orders}
        schedule_model.model.add_assumptions([schedule_model.kept[order] for order in orders])
        if solver.solve(schedule_model.model) != cp_model.INFEASIBLE:
            return None
        core = [literals[i] for i in solver.sufficient_assumptions_for_infeasibility()]
        return sorted(core) or orders

    def _shared_by(self, orders: list[int]) -> list[str]:
        """Return the resources that all the orders cannot do without."""
        common: set[int] | None = None
        for order in orders:
            mine: set[int] = set()
            for index in self._problem.orders[order].operations:
                mine |= indispensable(self._problem.operations[index])
            common = mine if common is None else common & mine
        return [self._problem.machines[index].id for index in sorted(common or ())][:NAMED_MAX]

    def _remedies(self) -> Iterator[str]:
        """Yield each single change that makes the plan possible."""
        parameters = self._problem.parameters
        length = parameters.ends_at - parameters.horizon_start
        longer = parameters.model_copy(
            update={"horizon_end": parameters.horizon_start + min(2 * length, timedelta(days=400))}
        )
        if self._fits(self._plan, longer):
            yield f"it would fit with the horizon until {longer.ends_at:%Y-%m-%d %H:%M} UTC"
        if any(order.materials for order in self._plan.orders):
            orders = tuple(o.model_copy(update={"materials": ()}) for o in self._plan.orders)
            if self._fits(self._plan.model_copy(update={"orders": orders}), parameters):
                yield "it would fit if all materials were available at once"
        if any(operation.fixed is not None for operation in self._problem.operations):
            free = self._plan.model_copy(update={"assignments": ()})
            if self._fits(free, parameters):
                yield "it would fit if nothing were frozen or locked"

    def _fits(self, plan: Plan, parameters: ScheduleParameters) -> bool:
        """Tell whether a schedule of the changed plan was found."""
        problem = build(plan, parameters)
        if self._late() or obstacles(problem):
            return False
        if dispatch(problem, stopped=self._late, enough=lambda: True) is not None:
            return True
        solver = self._solver()
        return solver is not None and solver.solve(ScheduleModel(problem).model) in SOLVED

    def _late(self) -> bool:
        return self._watch.stopped or time.monotonic() > self._deadline

    def _solver(self) -> cp_model.CpSolver | None:
        """Return a solver for what is left of the time; None when nothing is."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self._watch.stopped:
            return None
        solver = new_solver(self._problem, min(left, SOLVE_SECONDS_MAX))
        self._watch.begin(solver, None)
        return solver
