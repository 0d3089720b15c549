"""Why a job does not run now, in words and numbers; by the rules that claims go by."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from lineshaft_contracts.job_control import Explanation, Obstacle
from lineshaft_contracts.jobs import JobState

from lineshaft_job_runner.allocation import Group, Limit


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known about a job and its surroundings at one moment."""

    state: JobState
    group: Group
    run_at: datetime | None = None
    worker: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    after: Sequence[UUID] = ()
    """Jobs that it waits for."""
    waits_for_children: bool = False
    order_key: str | None = None
    turn: bool = True
    turn_of: UUID | None = None
    """Who has the turn of its order key."""
    ahead: int = 0
    """Jobs of the tenant that are claimed before it, as far as they are counted."""
    served: bool = True
    running: Mapping[Group, int] = field(default_factory=dict[Group, int])
    limits: Sequence[Limit] = ()
    waiting_tenants: Sequence[str] = ()
    """Tenants that have jobs which could start."""


def explain(facts: Facts) -> tuple[Explanation, ...]:
    """Say what stands in the way, the most decisive first; nothing: it is about to start."""
    match facts.state:
        case JobState.QUEUED:
            return _of_queued(facts)
        case JobState.RUNNING:
            told = f"It has been running on {facts.worker} since {facts.started_at}."
            return (_because(Obstacle.RUNNING, told, worker=facts.worker),)
        case JobState.SCHEDULED:
            told = f"It was asked to start at {facts.run_at}."
            return (_because(Obstacle.NOT_YET, told, run_at=_text(facts.run_at)),)
        case JobState.RETRYING:
            told = f"An attempt failed; the next one follows at {facts.run_at}."
            return (_because(Obstacle.BACKING_OFF, told, run_at=_text(facts.run_at)),)
        case JobState.WAITING:
            return (_of_waiting(facts),)
        case _:
            told = f"It ended as {facts.state} at {facts.finished_at}."
            return (_because(Obstacle.ENDED, told, state=str(facts.state)),)


def _of_waiting(facts: Facts) -> Explanation:
    code = Obstacle.CHILDREN if facts.waits_for_children else Obstacle.AFTER_OTHERS
    whose = "its own children" if facts.waits_for_children else "jobs that it comes after"
    return Explanation(
        code=code,
        message=f"{len(facts.after)} of {whose} have not ended.",
        details={"jobs": [str(job_id) for job_id in facts.after]},
    )


def _of_queued(facts: Facts) -> tuple[Explanation, ...]:
    reasons: list[Explanation] = []
    if not facts.served:
        told = f"No live worker serves {facts.group.job_type}."
        reasons.append(_because(Obstacle.NO_WORKER, told, job_type=facts.group.job_type))
    if not facts.turn:
        told = f"Job {facts.turn_of} of the same order key has not ended."
        reasons.append(
            _because(Obstacle.ORDER, told, order_key=facts.order_key, job_id=_text(facts.turn_of))
        )
    for limit in facts.limits:
        if limit.matches(facts.group):
            reasons += _of_limit(limit, facts.running)
    return tuple(reasons or _of_rank(facts))


def _of_limit(limit: Limit, running: Mapping[Group, int]) -> list[Explanation]:
    named = f"limit {limit.name}" + (" of the platform" if limit.tenant == "" else "")
    if limit.paused:
        return [_because(Obstacle.PAUSED, f"It is paused by {named}.", limit=limit.name)]
    reasons: list[Explanation] = []
    runs = limit.running(running)
    if limit.running_max is not None and runs >= limit.running_max:
        told = f"{runs} of at most {limit.running_max} jobs of {named} run."
        reasons.append(
            _because(
                Obstacle.CONCURRENCY,
                told,
                limit=limit.name,
                running=runs,
                running_max=limit.running_max,
            )
        )
    if limit.starts_left is not None and limit.starts_left < 1:
        told = f"The starts of {named} are used up for the moment."
        reasons.append(_because(Obstacle.RATE, told, limit=limit.name))
    return reasons


def _of_rank(facts: Facts) -> list[Explanation]:
    """Say who is claimed before it when only places are short."""
    reasons: list[Explanation] = []
    held = dict.fromkeys(facts.waiting_tenants, 0)
    for group, number in facts.running.items():
        held[group.tenant] = held.get(group.tenant, 0) + number
    ours = held.get(facts.group.tenant, 0)
    fewer = [t for t in facts.waiting_tenants if held[t] < ours and t != facts.group.tenant]
    if fewer:
        told = f"{len(fewer)} other tenants hold fewer than the {ours} places of this one."
        reasons.append(
            _because(Obstacle.TENANT_SHARE, told, places=ours, tenants_before=len(fewer))
        )
    if facts.ahead:
        told = f"{facts.ahead} jobs of the tenant come before it."
        reasons.append(_because(Obstacle.AHEAD, told, jobs=facts.ahead))
    total = sum(facts.running.values())
    if total:
        told = f"All places may be taken: {total} jobs run."
        reasons.append(_because(Obstacle.NO_FREE_PLACE, told, running=total))
    return reasons


def _because(code: Obstacle, message: str, **details: str | int | None) -> Explanation:
    return Explanation(code=code, message=message, details=dict(details))


def _text(value: object) -> str | None:
    return None if value is None else str(value)
