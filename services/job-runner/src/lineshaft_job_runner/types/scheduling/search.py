"""The search: one objective after the other, in a thread that can be watched and stopped."""

import math
import threading
import time
from dataclasses import dataclass, replace

from lineshaft_contracts.scheduling import Objective
from ortools.sat.python import cp_model

from lineshaft_job_runner.types.scheduling.bounds import bounds, floor_of
from lineshaft_job_runner.types.scheduling.compaction import compact
from lineshaft_job_runner.types.scheduling.folding import fold
from lineshaft_job_runner.types.scheduling.goals import Goals
from lineshaft_job_runner.types.scheduling.model import ScheduleModel
from lineshaft_job_runner.types.scheduling.objectives import asked, value
from lineshaft_job_runner.types.scheduling.problem import Problem, Schedule

MEMORY_MEBIBYTES_MAX = 1_536
STAGE_SHARE = 0.6
"""Of the time that is left, for an objective that others follow."""
PROBED_SIZE_MAX = 1_000
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
    space, schedule = _Space(problem), first
    stages: list[Stage] = []
    objectives = asked(problem.parameters)
    for number, objective in enumerate(objectives, start=1):
        space.minimise(objective, schedule)
        lowest = floor_of(problem, space.bounds, objective)
        if schedule is not None and value(problem, schedule, objective) == lowest:
            stages.append(Stage(objective=objective, value=lowest, bound=lowest))
            space.keep(objective, lowest)
            continue
        seconds = deadline - time.monotonic()
        if watch.stopped or (seconds <= 0 and schedule is None):
            break
        seconds *= 1.0 if number == len(objectives) else STAGE_SHARE
        solver = new_solver(problem, seconds)
        if space.is_large:
            solver.parameters.cp_model_probing_level = 0
        status = _solve(space.model, solver, watch, objective)
        if status == cp_model.INFEASIBLE:
            if schedule is not None:
                raise RuntimeError("the model refuses a schedule that keeps every rule")
            return Found(schedule=None, stages=(), infeasible=True)
        if status in SOLVED:
            schedule = compact(problem, space.schedule(solver))
        if schedule is None:
            break
        reached = value(problem, schedule, objective)
        bound = space.from_model(objective, math.ceil(solver.best_objective_bound - 1e-6))
        stages.append(Stage(objective=objective, value=reached, bound=max(bound, lowest)))
        space.keep(objective, reached)
    return Found(schedule=schedule, stages=_final(problem, schedule, stages), infeasible=False)


def _final(problem: Problem, schedule: Schedule | None, stages: list[Stage]) -> tuple[Stage, ...]:
    """Measure the last schedule: a later stage can have improved what was not proven before."""
    if schedule is None:
        return ()
    return tuple(
        replace(stage, value=reached, bound=min(stage.bound, reached))
        for stage in stages
        for reached in (value(problem, schedule, stage.objective),)
    )


class _Space:
    """The model that is searched: in working time where that is possible, else in elapsed time."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self.bounds = bounds(problem)
        self._folded = fold(problem)
        self._schedule_model = ScheduleModel(self._folded.problem if self._folded else problem)
        windows = self._folded.windows if self._folded else None
        self._making = Goals(self._schedule_model, problem, windows)
        self._goals: dict[Objective, cp_model.IntVar] = {}
        self.model = self._schedule_model.model

    @property
    def is_large(self) -> bool:
        """Whether probing, which tries every variable before the search, would take too long."""
        return self._schedule_model.size > PROBED_SIZE_MAX

    def minimise(self, objective: Objective, schedule: Schedule | None) -> None:
        """Turn to the next objective, and hint the schedule to begin from."""
        self._goals[objective] = self._making.add(objective)
        self.model.clear_hints()
        if schedule is not None:
            self._schedule_model.hint(self._folded.fold(schedule) if self._folded else schedule)
            self._making.hint(schedule)
            for known, variable in self._goals.items():
                reached = value(self._problem, schedule, known)
                self.model.add_hint(variable, self._to_model(known, reached))
        self.model.minimize(self._goals[objective])

    def keep(self, objective: Objective, reached: int) -> None:
        """Never get worse in an objective again."""
        self.model.add(self._goals[objective] <= self._to_model(objective, reached))

    def schedule(self, solver: cp_model.CpSolver) -> Schedule:
        """Read what was found, in elapsed time."""
        found = self._schedule_model.schedule(solver)
        return self._folded.unfold(found, self._problem) if self._folded else found

    def _to_model(self, objective: Objective, ticks: int) -> int:
        if self._folded is None or objective is not Objective.MAKESPAN:
            return ticks
        return self._folded.windows.worked(ticks)

    def from_model(self, objective: Objective, ticks: int) -> int:
        """Translate a bound of the model into elapsed ticks."""
        if self._folded is None or objective is not Objective.MAKESPAN:
            return ticks
        return self._folded.elapsed(ticks)


def _solve(
    model: cp_model.CpModel, solver: cp_model.CpSolver, watch: Watch, objective: Objective
) -> cp_model.CpSolverStatus:
    solver.best_bound_callback = watch.on_bound
    watch.begin(solver, objective)
    status = solver.solve(model, _Counting(watch))
    if status == cp_model.MODEL_INVALID:
        raise RuntimeError(f"the model is not valid: {model.validate()}")
    return status
