"""The search: one objective after the other, in a thread that can be watched and stopped."""

import math
import threading
import time
from dataclasses import dataclass

from lineshaft_contracts.scheduling import Objective
from ortools.sat.python import cp_model

from lineshaft_job_runner.types.scheduling.compaction import compact
from lineshaft_job_runner.types.scheduling.goals import goal, hint_goal
from lineshaft_job_runner.types.scheduling.model import ScheduleModel
from lineshaft_job_runner.types.scheduling.objectives import asked, value
from lineshaft_job_runner.types.scheduling.problem import Problem, Schedule

MEMORY_MEBIBYTES_MAX = 1_536
STAGE_SHARE = 0.6
"""Of the time that is left, for an objective that others follow."""
SOLVED = (cp_model.OPTIMAL, cp_model.FEASIBLE)


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What became of one objective, in ticks."""

    objective: Objective
    value: int
    bound: int


@dataclass(frozen=True, kw_only=True)
class Found:
    """The end of a search; without a schedule it is infeasible, or time was too short."""

    schedule: Schedule | None
    stages: tuple[Stage, ...]
    infeasible: bool


class Watch:
    """What a search has come to, for another thread to read; and its stop."""

    def __init__(self) -> None:
        self.solutions = 0
        self.objective: Objective | None = None
        self.stage = 0
        self.best: float | None = None
        self.bound: float | None = None
        self._stopped = threading.Event()
        self._solver: cp_model.CpSolver | None = None

    @property
    def stopped(self) -> bool:
        """Whether `stop` was called."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """End the search soon; call it again until it has ended, as it may just have begun."""
        self._stopped.set()
        solver = self._solver
        if solver is not None:
            solver.stop_search()

    def begin(self, solver: cp_model.CpSolver, objective: Objective | None) -> None:
        """Turn to the next solver."""
        self._solver = solver
        if objective is not None:
            self.objective, self.stage = objective, self.stage + 1
            self.best = self.bound = None

    def on_bound(self, bound: float) -> None:
        """Take a better bound."""
        self.bound = bound


class _Counting(cp_model.CpSolverSolutionCallback):
    """Tells the watch of each better schedule."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self._watch = watch

    def on_solution_callback(self) -> None:
        """Take over what was reached."""
        self._watch.solutions += 1
        self._watch.best = self.objective_value
        self._watch.bound = self.best_objective_bound
        if self._watch.stopped:
            self.stop_search()


def new_solver(problem: Problem, seconds: float) -> cp_model.CpSolver:
    """Return a solver with the settings of the job."""
    solver, parameters = cp_model.CpSolver(), problem.parameters
    solver.parameters.num_workers = parameters.workers
    solver.parameters.random_seed = parameters.seed
    solver.parameters.relative_gap_limit = parameters.gap_ratio_max
    solver.parameters.max_time_in_seconds = max(0.01, seconds)
    solver.parameters.max_memory_in_mb = MEMORY_MEBIBYTES_MAX
    return solver


def search(problem: Problem, first: Schedule | None, *, deadline: float, watch: Watch) -> Found:
    """Improve a first schedule, or find one, until `deadline` of the monotonic clock."""
    schedule_model = ScheduleModel(problem)
    model, schedule = schedule_model.model, first
    goals: list[tuple[Objective, cp_model.IntVar]] = []
    stages: list[Stage] = []
    objectives = asked(problem.parameters)
    for number, objective in enumerate(objectives, start=1):
        goals.append((objective, goal(schedule_model, objective)))
        model.clear_hints()
        if schedule is not None:
            schedule_model.hint(schedule)
            for known, variable in goals:
                hint_goal(schedule_model, variable, known, schedule)
        model.minimize(goals[-1][1])
        seconds = deadline - time.monotonic()
        if watch.stopped or (seconds <= 0 and schedule is None):
            break
        seconds *= 1.0 if number == len(objectives) else STAGE_SHARE
        solver = new_solver(problem, seconds)
        status = _solve(model, solver, watch, objective)
        if status == cp_model.INFEASIBLE:
            if schedule is not None:
                raise RuntimeError("the model refuses a schedule that keeps every rule")
            return Found(schedule=None, stages=(), infeasible=True)
        if status in SOLVED:
            better = compact(problem, schedule_model.schedule(solver))
            schedule = better
        if schedule is None:
            break
        reached = value(problem, schedule, objective)
        bound = math.ceil(solver.best_objective_bound - 1e-6)
        stages.append(Stage(objective=objective, value=reached, bound=min(bound, reached)))
        model.add(goals[-1][1] <= reached)
    return Found(schedule=schedule, stages=tuple(stages), infeasible=False)


def _solve(
    model: cp_model.CpModel, solver: cp_model.CpSolver, watch: Watch, objective: Objective
) -> cp_model.CpSolverStatus:
    solver.best_bound_callback = watch.on_bound
    watch.begin(solver, objective)
    status = solver.solve(model, _Counting(watch))
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"the model is not valid: {model.validate()}")
    return status
