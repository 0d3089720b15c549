"""All that follows from a schedule's being due; whatever is wrong with it ends as `refused`."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

import structlog
from lineshaft_contracts.job_schedules import JobSchedule
from lineshaft_contracts.problems import ProblemError
from pydantic import ValidationError

from lineshaft_job_runner.schedules import clock
from lineshaft_job_runner.schedules.clock import UnusableClockError
from lineshaft_job_runner.schedules.decisions import decide
from lineshaft_job_runner.schedules.drafts import Draft
from lineshaft_job_runner.schedules.schedule import (
    Decision,
    DueSchedule,
    FireOutcome,
    KeptSchedule,
    Settlement,
)

log = structlog.get_logger(__name__)

DETAIL_MAX = 500


class Drafts(Protocol):
    """The jobs that schedules describe; see drafts.py."""

    async def draft(self, schedule: JobSchedule, *, tenant: str, name: str) -> Draft:
        """Check a job; ProblemError when there can be none."""
        ...


async def settlement(due: DueSchedule, drafts: Drafts, *, now: datetime) -> Settlement:
    """Settle a schedule by its policies, or refuse the fire when it cannot be followed."""
    try:
        schedule = JobSchedule.model_validate_json(due.text)
        course = decide(due, schedule, now=now)
    except ValidationError as error:
        return _refused(due, f"invalid_schedule: {error.errors()[0]['msg']}")
    except UnusableClockError as error:
        return _refused(due, f"{error.problem.code}: {error}")
    decisions, cancels = course.decisions, course.cancels
    if any(one.outcome is FireOutcome.SUBMITTED for one in decisions):
        try:
            draft = await drafts.draft(schedule, tenant=due.tenant, name=due.name)
        except ProblemError as error:
            decisions, cancels = _without_jobs(decisions, error), False
        else:
            decisions = tuple(_with_job(one, draft) for one in decisions)
    return Settlement(
        due=due, decisions=decisions, cancels=cancels, next_fire_at=course.next_fire_at
    )


def set_aside(due: DueSchedule, *, now: datetime) -> Settlement:
    """Refuse a fire that the store does not take; the next one may go well."""
    next_fire_at = None
    try:
        schedule = JobSchedule.model_validate_json(due.text)
        next_fire_at = clock.next_fire(schedule, after=now, made_at=due.made_at)
    except Exception:
        log.exception("schedule_unusable", schedule=due.name, tenant=due.tenant)
    return _refused(due, "internal_error: see the log of the runner", next_fire_at=next_fire_at)


def planned(kept: KeptSchedule, now: datetime) -> datetime | None:
    """Return the next fire of a schedule that is not due; None when it cannot be told."""
    if kept.schedule.paused:
        return None
    try:
        return clock.next_fire(kept.schedule, after=now, made_at=kept.made_at)
    except UnusableClockError as error:
        log.warning("schedule_unusable", schedule=kept.name, error=str(error))
        return None


def _with_job(one: Decision, draft: Draft) -> Decision:
    return replace(one, job=draft.fired()) if one.outcome is FireOutcome.SUBMITTED else one


def _without_jobs(decisions: Sequence[Decision], error: ProblemError) -> tuple[Decision, ...]:
    problem = error.problem
    fields = "; ".join(f"{field.pointer}: {field.message}" for field in problem.errors[:5])
    detail = _storable(f"{problem.code}: {fields or problem.detail or problem.title}")
    return tuple(
        replace(one, outcome=FireOutcome.REFUSED, detail=detail)
        if one.outcome is FireOutcome.SUBMITTED
        else one
        for one in decisions
    )


def _refused(due: DueSchedule, detail: str, *, next_fire_at: datetime | None = None) -> Settlement:
    """Refuse a fire; without a next one the schedule is planned again when a process starts."""
    log.error("fire_refused", schedule=due.name, tenant=due.tenant, detail=detail)
    decision = Decision(fire_at=due.fire_at, outcome=FireOutcome.REFUSED, detail=_storable(detail))
    return Settlement(due=due, decisions=(decision,), next_fire_at=next_fire_at)


def _storable(text: str) -> str:
    """Shorten a text, without what PostgreSQL cannot hold: a message may repeat any input."""
    return text[:DETAIL_MAX].replace("\0", " ").encode(errors="replace").decode()
