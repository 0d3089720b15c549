"""The run of production.schedule: a plan in, a checked proposal and its artifacts out."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from lineshaft_contracts.scheduling import Objective, ScheduleParameters, ScheduleResult
from lineshaft_contracts.scheduling_plan import Plan

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.scheduling import writing
from lineshaft_job_runner.types.scheduling.building import build
from lineshaft_job_runner.types.scheduling.claims import wrong_claims
from lineshaft_job_runner.types.scheduling.dispatching import dispatch
from lineshaft_job_runner.types.scheduling.explaining import Explanation
from lineshaft_job_runner.types.scheduling.problem import Problem
from lineshaft_job_runner.types.scheduling.proposal import Outcome, Proposal, propose
from lineshaft_job_runner.types.scheduling.reading import read_plan
from lineshaft_job_runner.types.scheduling.refusing import obstacles
from lineshaft_job_runner.types.scheduling.search import Watch, search
from lineshaft_job_runner.types.scheduling.validator import Validator

STEPS = 1_000
SEARCHED = 950
LOOK_SECONDS = 0.1
DISPATCH_SHARE = 0.2
DISPATCH_SECONDS_MAX = 10.0
VIOLATIONS_MAX = 5

T = TypeVar("T")


async def run(context: JobContext, parameters: ScheduleParameters) -> ScheduleResult:
    """Search, check what was found by other code, and write it down; nothing else is changed."""
    digest = InputDigest(parameters)
    plan = parameters.plan
    if parameters.queries is not None:
        plan = await read_plan(context, parameters.queries, digest)
    if plan is None:
        raise ValueError("parameters have a plan or queries")
    watch = _Watching(context, parameters)
    problem = await watch.run(lambda: build(plan, parameters))
    outcome = await watch.run(lambda: _outcome(plan, problem, watch.watch))
    proposal = await watch.run(lambda: _checked(propose(plan, problem, outcome)))
    if proposal.assignments:
        context.progress(SEARCHED, STEPS, "writing the schedule")
        await writing.write(context, proposal)
    context.progress(STEPS, STEPS, f"{proposal.status.value}")
    return proposal.result(context.artifacts(), digest.hexadecimal())


def _outcome(plan: Plan, problem: Problem, watch: Watch) -> Outcome:
    parameters, started = problem.parameters, time.monotonic()
    if obstacles(problem):
        return Outcome(reasons=Explanation(plan, problem, watch).reasons())
    if parameters.dry_run:
        return Outcome()
    cap = parameters.solve_seconds_max
    enough = started + min(DISPATCH_SHARE * cap, DISPATCH_SECONDS_MAX)
    first = dispatch(
        problem,
        stopped=lambda: watch.stopped or time.monotonic() > started + cap,
        enough=lambda: time.monotonic() > enough,
    )
    found = search(problem, first and first.schedule, deadline=started + cap, watch=watch)
    seconds = time.monotonic() - started
    reasons: list[str] = []
    if found.infeasible:
        reasons = Explanation(plan, problem, watch).reasons()
    elif found.schedule is None:
        reasons = [f"no schedule was found within {cap:g} s: give more time or a longer horizon"]
    return Outcome(
        found=found,
        dispatched=first,
        reasons=reasons,
        seconds=seconds,
        solutions=watch.solutions + (first is not None),
    )


def _checked(proposal: Proposal) -> Proposal:
    """Return the proposal if it keeps every rule of the plan; the job fails otherwise."""
    if not proposal.assignments:
        return proposal
    plan, parameters = proposal.plan, proposal.problem.parameters
    broken = Validator(plan, parameters).violations(proposal.assignments)
    claims = {one.objective: one.value for one in proposal.objectives}
    broken += wrong_claims(plan, parameters, proposal.assignments, claims)
    if broken:
        raise PermanentError(
            "schedule_invalid",
            "the schedule that was found breaks rules of the plan, which is an error of the "
            f"program: {'; '.join(broken[:VIOLATIONS_MAX])}",
        )
    return proposal


class _Watching:
    """Runs work in a thread, tells how far it is, and stops it when the job is cancelled."""

    def __init__(self, context: JobContext, parameters: ScheduleParameters) -> None:
        self.watch = Watch()
        self._context = context
        self._seconds = parameters.solve_seconds_max
        self._minutes = parameters.tick_seconds / 60
        self._started: float | None = None

    async def run(self, work: Callable[[], T]) -> T:
        """Return what the work returns; raises JobStoppedError soon after a cancellation."""
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            while not (await asyncio.wait({task}, timeout=LOOK_SECONDS))[0]:
                self._look()
        finally:
            if not task.done():
                self.watch.stop()
        if task.exception() is None:
            stop_if_cancelled(self._context)
        return task.result()

    def _look(self) -> None:
        if self._context.cancelled:
            self.watch.stop()
        watch = self.watch
        if watch.objective is None:
            return
        self._started = self._started or time.monotonic()
        share = min(1.0, (time.monotonic() - self._started) / self._seconds)
        self._context.progress(int(SEARCHED * share), STEPS, self._told(watch.objective))

    def _told(self, objective: Objective) -> str:
        watch, solutions = self.watch, self.watch.solutions
        told = f"objective {watch.stage}, {objective.value}: {solutions} solutions"
        best, bound = watch.best, watch.bound
        if best is not None and bound is not None:
            gap = (best - bound) / max(1.0, abs(best))
            told += f", best {best * self._minutes:g} min, bound {bound * self._minutes:g} min"
            told += f", gap {gap:.1%}"
        return told
