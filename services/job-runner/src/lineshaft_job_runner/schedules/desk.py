"""Answers to those who set, delete, list and preview schedules."""

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Protocol
from uuid import UUID

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_schedules import (
    DeleteJobSchedule,
    Fire,
    JobFires,
    JobSchedule,
    JobScheduleDeleted,
    JobSchedules,
    JobScheduleSet,
    JobScheduleView,
    ListJobFires,
    ListJobSchedules,
    PreviewJobSchedule,
    SetJobSchedule,
)
from lineshaft_contracts.problems import Problem, ProblemError

from lineshaft_job_runner import storable
from lineshaft_job_runner.schedules import clock
from lineshaft_job_runner.schedules.clock import UnusableClockError
from lineshaft_job_runner.schedules.schedule import KeptSchedule
from lineshaft_job_runner.schedules.settlements import Drafts

COMING_MAX = 10
SCHEDULE_BYTES_MAX = 8_192
"""As JSON: a list of a tenant's thousand schedules has to fit one message."""

NOT_FOUND = Problem(code="job_schedule_not_found", title="No such schedule", status=404)
TOO_MANY = Problem(
    code="too_many_schedules",
    title="There are too many schedules",
    detail="a tenant has 1,000 at most",
    status=409,
)
UNSTORABLE = Problem(
    code="invalid_input",
    title="The schedule cannot be stored",
    detail=f"at most {SCHEDULE_BYTES_MAX} bytes of JSON, and no NUL characters",
    status=422,
)


class Schedules(Protocol):
    """What the desk asks of the store; see store/schedules.py."""

    async def now(self) -> datetime:
        """Read the clock that fires go by."""
        ...

    async def set(
        self,
        name: str,
        schedule: JobSchedule,
        *,
        tenant: str,
        actor: str,
        plan: Callable[[KeptSchedule | None, datetime], datetime | None],
    ) -> KeptSchedule | None:
        """Make or replace a schedule; None when there are too many."""
        ...

    async def delete(self, name: str, *, tenant: str, actor: str) -> bool:
        """Delete a schedule; False when there is none."""
        ...

    async def find(self, name: str, *, tenant: str) -> KeptSchedule | None:
        """Find a schedule."""
        ...

    async def all_of(self, tenant: str) -> list[KeptSchedule]:
        """List the schedules of a tenant."""
        ...

    async def past_fires(self, schedule_id: UUID, *, limit: int) -> list[Fire]:
        """Read a ledger."""
        ...


class Desk:
    """Everything is checked when it is set, so that a fire is refused only when things changed."""

    def __init__(
        self, schedules: Schedules, drafts: Drafts, *, on_changed: Callable[[], None]
    ) -> None:
        self._schedules = schedules
        self._drafts = drafts
        self._on_changed = on_changed

    async def set(self, envelope: Envelope[SetJobSchedule]) -> JobScheduleSet:
        """Answer SetJobSchedule. Idempotent: the same schedule again changes nothing."""
        order = envelope.data
        await self._check(order.schedule, tenant=envelope.tenant, name=order.name)

        def plan(earlier: KeptSchedule | None, now: datetime) -> datetime | None:
            return _planned(order.schedule, earlier, now)

        try:
            kept = await self._schedules.set(
                order.name,
                order.schedule,
                tenant=envelope.tenant,
                actor=order.actor,
                plan=plan,
            )
        except UnusableClockError as error:
            raise ProblemError(_invalid(error)) from None
        if kept is None:
            raise ProblemError(TOO_MANY)
        self._on_changed()
        return JobScheduleSet(schedule=_view(kept))

    async def delete(self, envelope: Envelope[DeleteJobSchedule]) -> JobScheduleDeleted:
        """Answer DeleteJobSchedule. Idempotent: a second one finds nothing to delete."""
        order = envelope.data
        if not await self._schedules.delete(order.name, tenant=envelope.tenant, actor=order.actor):
            raise ProblemError(NOT_FOUND)
        return JobScheduleDeleted(name=order.name)

    async def list(self, envelope: Envelope[ListJobSchedules]) -> JobSchedules:
        """Answer ListJobSchedules; a name that is not there gives an empty list."""
        name = envelope.data.name
        if name is None:
            found = await self._schedules.all_of(envelope.tenant)
        else:
            one = await self._schedules.find(name, tenant=envelope.tenant)
            found = [] if one is None else [one]
        return JobSchedules(schedules=tuple(map(_view, found)))

    async def list_fires(self, envelope: Envelope[ListJobFires]) -> JobFires:
        """Answer ListJobFires."""
        question = envelope.data
        kept = await self._schedules.find(question.name, tenant=envelope.tenant)
        if kept is None:
            raise ProblemError(NOT_FOUND)
        past = await self._schedules.past_fires(kept.id, limit=question.limit)
        coming = tuple[datetime, ...]()
        if kept.next_fire_at is not None:
            try:
                following = clock.fires(
                    kept.schedule, after=kept.next_fire_at, made_at=kept.made_at
                )
                coming = (kept.next_fire_at, *islice(following, COMING_MAX - 1))
            except UnusableClockError:
                coming = (kept.next_fire_at,)
        return JobFires(past=tuple(past), coming=coming)

    async def preview(self, envelope: Envelope[PreviewJobSchedule]) -> JobFires:
        """Answer PreviewJobSchedule: checked as if it were set, and paused or not."""
        question = envelope.data
        await self._check(question.schedule, tenant=envelope.tenant, name="preview")
        now = await self._schedules.now()
        try:
            clock.check(question.schedule, now=now)
            following = clock.fires(question.schedule, after=now, made_at=now)
            return JobFires(past=(), coming=tuple(islice(following, question.limit)))
        except UnusableClockError as error:
            raise ProblemError(_invalid(error)) from None

    async def _check(self, schedule: JobSchedule, *, tenant: str, name: str) -> None:
        text = schedule.model_dump_json()
        if len(text.encode()) > SCHEDULE_BYTES_MAX or storable.has_nul(text):
            raise ProblemError(UNSTORABLE)
        await self._drafts.draft(schedule, tenant=tenant, name=name)


def _planned(
    schedule: JobSchedule, earlier: KeptSchedule | None, now: datetime
) -> datetime | None:
    """Return the next fire of a schedule that is being set.

    A fire of the earlier one that is due, and that the new one has too, is kept: setting a
    schedule again at the moment of its fire loses nothing.
    """
    clock.check(schedule, now=now)
    if schedule.paused:
        return None
    if earlier is None:
        return clock.next_fire(schedule, after=now, made_at=now)
    due = earlier.next_fire_at
    if due is not None and due <= now and _clock_of(schedule) == _clock_of(earlier.schedule):
        return due
    return clock.next_fire(schedule, after=now, made_at=earlier.made_at)


def _clock_of(schedule: JobSchedule) -> tuple[object, ...]:
    return (
        schedule.cron,
        schedule.every_seconds,
        schedule.zone,
        schedule.starts_at,
        schedule.ends_at,
        schedule.on_gap,
        schedule.on_overlap,
    )


def _view(kept: KeptSchedule) -> JobScheduleView:
    return JobScheduleView(
        name=kept.name,
        schedule=kept.schedule,
        next_fire_at=kept.next_fire_at,
        last_fire_at=kept.last_fire_at,
        last_job_id=kept.last_job_id,
    )


def _invalid(error: UnusableClockError) -> Problem:
    return Problem(
        code="invalid_input",
        title="The schedule cannot be followed",
        detail=str(error),
        status=422,
        errors=(error.problem,),
    )
