"""What becomes of the fires of a schedule that is due: a pure function of its policies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import assert_never

from lineshaft_contracts.job_schedules import CATCH_UP_MAX, JobSchedule, OnBusy, OnMissed

from lineshaft_job_runner.schedules import clock
from lineshaft_job_runner.schedules.schedule import Decision, DueSchedule, FireOutcome

GRACE = timedelta(seconds=60)
"""A fire that is later than this was missed; so were all but the last when several are due."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What to do about a schedule that is due."""

    decisions: tuple[Decision, ...]
    """In order of their times; those that are `submitted` have no job yet."""
    cancels: bool
    next_fire_at: datetime | None


def decide(due: DueSchedule, schedule: JobSchedule, *, now: datetime) -> Course:
    """Choose which of the fires up to now run; UnusableClockError when its clock is gone.

    One decision for each of the last hundred fires; what came before them is one decision more.
    """
    following = clock.next_fire(schedule, after=due.fire_at, made_at=due.made_at)
    if following is None or following > now:
        passed, upcoming = [due.fire_at], following
    else:
        passed = clock.latest_fires(
            schedule, after=due.fire_at, until=now, made_at=due.made_at, count=CATCH_UP_MAX
        )
        if len(passed) < CATCH_UP_MAX:
            passed.insert(0, due.fire_at)
        upcoming = clock.next_fire(schedule, after=now, made_at=due.made_at)
    decisions = _over_long_ago(due.fire_at, passed)
    chosen = _made_up_for(schedule.on_missed, passed, now=now)
    alone = schedule.on_busy is not OnBusy.RUN
    held_up = due.busy and schedule.on_busy is OnBusy.SKIP
    for fire_at in passed:
        if fire_at not in chosen:
            decisions.append(Decision(fire_at=fire_at, outcome=FireOutcome.SKIPPED_MISSED))
        elif held_up:
            detail = f"job {due.last_job_id} of the fire before has not ended"
            decisions.append(_skipped_busy(fire_at, detail))
        elif alone and fire_at != passed[-1]:
            detail = f"one at a time: the fire of {passed[-1].isoformat()} runs in its place"
            decisions.append(_skipped_busy(fire_at, detail))
        else:
            decisions.append(Decision(fire_at=fire_at, outcome=FireOutcome.SUBMITTED))
    return Course(
        decisions=tuple(decisions),
        cancels=bool(chosen) and due.busy and schedule.on_busy is OnBusy.CANCEL,
        next_fire_at=upcoming,
    )


def _made_up_for(
    on_missed: OnMissed, passed: Sequence[datetime], *, now: datetime
) -> frozenset[datetime]:
    """Choose by the policy for missed fires; the last one is on time within the grace."""
    latest = passed[-1]
    match on_missed:
        case OnMissed.SKIP:
            return frozenset({latest} if now - latest <= GRACE else ())
        case OnMissed.ONE:
            return frozenset({latest})
        case OnMissed.ALL:
            return frozenset(passed)
        case _:
            assert_never(on_missed)


def _over_long_ago(first: datetime, passed: Sequence[datetime]) -> list[Decision]:
    """Write down the fires before the last hundred, all in one."""
    if first == passed[0]:
        return []
    detail = f"and every fire after it before {passed[0].isoformat()}"
    return [Decision(fire_at=first, outcome=FireOutcome.SKIPPED_MISSED, detail=detail)]


def _skipped_busy(fire_at: datetime, detail: str) -> Decision:
    return Decision(fire_at=fire_at, outcome=FireOutcome.SKIPPED_BUSY, detail=detail)
