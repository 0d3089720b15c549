"""What the job answers: how good the schedule is, what is late, how busy the resources are."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import ortools
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.jobs import Artifact
from lineshaft_contracts.scheduling import (
    SHOWN_MAX,
    Assignment,
    LateOrder,
    ObjectiveValue,
    ScheduleResult,
    ScheduleStatus,
    Utilisation,
)
from lineshaft_contracts.scheduling_plan import Plan

from lineshaft_job_runner.types.scheduling.assigning import (
    assignments,
    late_orders,
    moved,
    utilisation,
)
from lineshaft_job_runner.types.scheduling.dispatching import Dispatched
from lineshaft_job_runner.types.scheduling.objectives import asked, value
from lineshaft_job_runner.types.scheduling.problem import Problem
from lineshaft_job_runner.types.scheduling.search import Found

SEGMENTS_SHOWN_MAX = 100
REASONS_MAX = 20
REASON_LENGTH_MAX = 600


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the search and the explanation came to."""

    found: Found | None = None
    """None when nothing was searched."""
    dispatched: Dispatched | None = None
    reasons: Sequence[str] = ()
    seconds: float = 0.0
    solutions: int = 0


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A schedule with everything that is told about it; empty when there is none."""

    plan: Plan
    problem: Problem
    outcome: Outcome
    assignments: list[Assignment] = field(default_factory=list[Assignment])
    late: list[LateOrder] = field(default_factory=list[LateOrder])
    utilisation: list[Utilisation] = field(default_factory=list[Utilisation])
    objectives: tuple[ObjectiveValue, ...] = ()

    @property
    def status(self) -> ScheduleStatus:
        """What is known about the schedule."""
        found = self.outcome.found
        if found is None:
            impossible = bool(self.outcome.reasons)
            return ScheduleStatus.INFEASIBLE if impossible else ScheduleStatus.CHECKED
        if found.schedule is None:
            return ScheduleStatus.INFEASIBLE if found.infeasible else ScheduleStatus.UNKNOWN
        whole = len(self.objectives) == len(asked(self.problem.parameters))
        proven = whole and all(one.proven for one in self.objectives)
        return ScheduleStatus.OPTIMAL if proven else ScheduleStatus.FEASIBLE

    def result(self, artifacts: tuple[Artifact, ...], digest: str) -> ScheduleResult:
        """Return the answer; long lists are in the artifacts."""
        orders, outcome = len(self.plan.orders), self.outcome
        planned = orders if self.assignments or self.status is ScheduleStatus.CHECKED else 0
        return ScheduleResult(
            counts=Counts(requested=orders, ok=planned, failed=orders - planned),
            artifacts=artifacts,
            warnings=tuple(self._warnings()),
            engine=Engine(name="ortools", version=ortools.__version__),
            input_digest=digest,
            status=self.status,
            reasons=tuple(reason[:REASON_LENGTH_MAX] for reason in outcome.reasons[:REASONS_MAX]),
            objectives=self.objectives,
            operations=len(self.problem.operations),
            assignments=tuple(self._shown()),
            late_count=len(self.late),
            late=tuple(self.late[:SHOWN_MAX]),
            utilisation=tuple(self.utilisation[:SHOWN_MAX]),
            frozen_count=sum(one.frozen for one in self.assignments),
            moved_count=moved(self.plan, self.assignments) if self.assignments else 0,
            solutions=outcome.solutions,
            dispatching_rule=None if outcome.dispatched is None else outcome.dispatched.rule.value,
            solve_seconds=round(outcome.seconds, 3),
        )

    def _shown(self) -> list[Assignment]:
        """Return the first assignments, as long as they do not have too many segments."""
        shown, segments = list[Assignment](), 0
        for one in self.assignments[:SHOWN_MAX]:
            segments += len(one.segments)
            if segments > SEGMENTS_SHOWN_MAX:
                break
            shown.append(one)
        return shown

    def _warnings(self) -> list[str]:
        warnings: list[str] = []
        if self.late:
            warnings.append(f"{len(self.late)} of {len(self.plan.orders)} orders are late")
        open_ = [one for one in self.objectives if not one.proven]
        if open_:
            warnings.append(
                f"{open_[0].objective.value} is not proven to be the optimum: at most "
                f"{open_[0].gap_ratio:.1%} of it can still be gained"
            )
        if self.status is ScheduleStatus.FEASIBLE and not open_:
            warnings.append("time ended before every objective was searched")
        return warnings


def propose(plan: Plan, problem: Problem, outcome: Outcome) -> Proposal:
    """Turn what was found into instants, minutes and ratios."""
    schedule = None if outcome.found is None else outcome.found.schedule
    if schedule is None:
        return Proposal(plan=plan, problem=problem, outcome=outcome)
    made = assignments(problem, schedule)
    return Proposal(
        plan=plan,
        problem=problem,
        outcome=outcome,
        assignments=made,
        late=late_orders(plan, made),
        utilisation=utilisation(problem, schedule),
        objectives=_objectives(problem, outcome),
    )


def _objectives(problem: Problem, outcome: Outcome) -> tuple[ObjectiveValue, ...]:
    minutes = problem.clock.tick_seconds / 60
    first = None if outcome.dispatched is None else outcome.dispatched.schedule
    stages = () if outcome.found is None else outcome.found.stages
    return tuple(
        ObjectiveValue(
            objective=stage.objective,
            value=stage.value * minutes,
            bound=stage.bound * minutes,
            gap_ratio=(stage.value - stage.bound) / max(1, abs(stage.value)),
            proven=stage.value == stage.bound,
            dispatched=(
                None if first is None else value(problem, first, stage.objective) * minutes
            ),
        )
        for stage in stages
    )
