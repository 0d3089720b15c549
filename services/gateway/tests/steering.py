"""The part of a job-runner in memory that is asked about limits, schedules and ended jobs."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from lineshaft_common.messaging.bus import Answer, answers
from lineshaft_contracts import job_control as control
from lineshaft_contracts import job_schedules as clock
from lineshaft_contracts.envelope import Envelope, uuid7
from lineshaft_contracts.jobs import JobState
from lineshaft_contracts.problems import Problem, ProblemError

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@dataclass
class Steering:
    """Keeps what it is told, by tenant; limits of the platform under no tenant."""

    limits: dict[tuple[str, str], control.JobLimit] = field(
        default_factory=dict[tuple[str, str], control.JobLimit]
    )
    schedules: dict[tuple[str, str], clock.JobSchedule] = field(
        default_factory=dict[tuple[str, str], clock.JobSchedule]
    )
    redrives: list[tuple[str, control.Redrive]] = field(
        default_factory=list[tuple[str, control.Redrive]]
    )
    audit: list[tuple[str, control.AuditEntry]] = field(
        default_factory=list[tuple[str, control.AuditEntry]]
    )

    def answers(self) -> tuple[Answer, ...]:
        return (
            answers(control.ExplainJob, self.explain),
            answers(control.RetryJob, self.retry),
            answers(control.RedriveJobs, self.redrive),
            answers(control.ListJobAudit, self.list_audit),
            answers(control.SetJobLimit, self.set_limit),
            answers(control.DeleteJobLimit, self.delete_limit),
            answers(control.ListJobLimits, self.list_limits),
            answers(clock.SetJobSchedule, self.set_schedule),
            answers(clock.DeleteJobSchedule, self.delete_schedule),
            answers(clock.ListJobSchedules, self.list_schedules),
            answers(clock.ListJobFires, self.list_fires),
            answers(clock.PreviewJobSchedule, self.preview),
        )

    def _note(self, command: Envelope[Any], action: str) -> UUID:
        entry = control.AuditEntry(
            id=uuid7(), at=NOON, actor=command.data.actor, action=action, details={}
        )
        self.audit.insert(0, (command.tenant, entry))
        return entry.id

    async def explain(self, question: Envelope[control.ExplainJob]) -> control.JobExplained:
        reason = control.Explanation(
            code=control.Obstacle.PAUSED, message="paused", details={"limit": "press-1"}
        )
        return control.JobExplained(
            job_id=question.data.job_id, state=JobState.QUEUED, reasons=(reason,)
        )

    async def retry(self, command: Envelope[control.RetryJob]) -> control.JobRetried:
        del command
        raise ProblemError(Problem(code="job_not_retryable", title="It runs", status=409))

    async def redrive(self, command: Envelope[control.RedriveJobs]) -> control.JobsRedriven:
        self.redrives.append((command.tenant, command.data.redrive))
        redriven = 0 if command.data.redrive.dry_run else 3
        return control.JobsRedriven(
            id=self._note(command, "redrive"), matched=3, redriven=redriven
        )

    async def list_audit(self, question: Envelope[control.ListJobAudit]) -> control.JobAudit:
        own = [entry for tenant, entry in self.audit if tenant == question.tenant]
        return control.JobAudit(entries=tuple(own[: question.data.limit]))

    async def set_limit(self, command: Envelope[control.SetJobLimit]) -> control.JobLimitSet:
        owner = "" if command.data.every_tenant else command.tenant
        self.limits[owner, command.data.name] = command.data.limit
        self._note(command, "set_limit")
        return control.JobLimitSet(limit=self._limit(owner, command.data.name))

    async def delete_limit(
        self, command: Envelope[control.DeleteJobLimit]
    ) -> control.JobLimitDeleted:
        owner = "" if command.data.every_tenant else command.tenant
        if self.limits.pop((owner, command.data.name), None) is None:
            raise ProblemError(Problem(code="job_limit_not_found", title="None", status=404))
        return control.JobLimitDeleted(name=command.data.name)

    async def list_limits(self, question: Envelope[control.ListJobLimits]) -> control.JobLimits:
        seen = [key for owner in (question.tenant, "") for key in self.limits if key[0] == owner]
        return control.JobLimits(limits=tuple(self._limit(*key) for key in seen))

    def _limit(self, owner: str, name: str) -> control.JobLimitView:
        return control.JobLimitView(
            name=name, every_tenant=not owner, limit=self.limits[owner, name], running=2
        )

    async def set_schedule(self, command: Envelope[clock.SetJobSchedule]) -> clock.JobScheduleSet:
        key = (command.tenant, command.data.name)
        self.schedules[key] = command.data.schedule
        return clock.JobScheduleSet(schedule=self._schedule(key))

    async def delete_schedule(
        self, command: Envelope[clock.DeleteJobSchedule]
    ) -> clock.JobScheduleDeleted:
        self._known(command)
        del self.schedules[command.tenant, command.data.name]
        return clock.JobScheduleDeleted(name=command.data.name)

    async def list_schedules(
        self, question: Envelope[clock.ListJobSchedules]
    ) -> clock.JobSchedules:
        own = [
            self._schedule(key)
            for key in sorted(self.schedules)
            if key[0] == question.tenant and question.data.name in {None, key[1]}
        ]
        return clock.JobSchedules(schedules=tuple(own))

    async def list_fires(self, question: Envelope[clock.ListJobFires]) -> clock.JobFires:
        self._known(question)
        past = clock.Fire(fire_at=NOON, outcome="submitted", decided_at=NOON)
        return clock.JobFires(past=(past,), coming=(NOON,))

    async def preview(self, question: Envelope[clock.PreviewJobSchedule]) -> clock.JobFires:
        return clock.JobFires(past=(), coming=(NOON,) * question.data.limit)

    def _known(self, question: Envelope[Any]) -> None:
        if (question.tenant, question.data.name) not in self.schedules:
            raise ProblemError(Problem(code="job_schedule_not_found", title="None", status=404))

    def _schedule(self, key: tuple[str, str]) -> clock.JobScheduleView:
        return clock.JobScheduleView(
            name=key[1],
            schedule=self.schedules[key],
            next_fire_at=NOON,
            last_fire_at=None,
            last_job_id=None,
        )
