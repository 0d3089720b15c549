"""Answers to those who steer jobs: explanations, limits, jobs that run again, and the audit."""

from collections.abc import Mapping, Sequence
from typing import Protocol
from uuid import UUID

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_control import (
    DeleteJobLimit,
    ExplainJob,
    JobAudit,
    JobExplained,
    JobLimit,
    JobLimitDeleted,
    JobLimits,
    JobLimitSet,
    JobLimitView,
    JobRetried,
    JobsRedriven,
    ListJobAudit,
    ListJobLimits,
    Redrive,
    RedriveJobs,
    RetryJob,
    SetJobLimit,
)
from lineshaft_contracts.jobs import JobView
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_job_runner.answering import JOB_NOT_FOUND
from lineshaft_job_runner.explaining import Facts, explain
from lineshaft_job_runner.submissions import AHEAD_MAX, ATTEMPTS_MAX

TOO_MANY_LIMITS = Problem(
    code="too_many_job_limits",
    title="There are too many limits",
    detail="a tenant has 1,000 at most",
    status=409,
)
LIMIT_NOT_FOUND = Problem(code="job_limit_not_found", title="No such limit", status=404)


class Obstacles(Protocol):
    """See store/obstacles.py."""

    async def facts(self, job_id: UUID, *, tenant: str, served: frozenset[str]) -> Facts | None:
        """Return what is known of a job."""
        ...


class Limits(Protocol):
    """See store/limits.py."""

    async def set(
        self, name: str, limit: JobLimit, *, tenant: str, actor: str, every_tenant: bool
    ) -> JobLimitView | None:
        """Make or replace a limit; None when there are too many."""
        ...

    async def delete(self, name: str, *, tenant: str, actor: str, every_tenant: bool) -> bool:
        """Remove a limit; False when there is none."""
        ...

    async def list(self, *, tenant: str) -> list[JobLimitView]:
        """Return the limits that hold for a tenant's jobs."""
        ...


class Reviving(Protocol):
    """See store/reviving.py."""

    async def type_of(self, job_id: UUID, *, tenant: str) -> str | None:
        """Return the type of a job that may run again."""
        ...

    async def retry(self, job_id: UUID, *, tenant: str, actor: str, attempts: int) -> bool:
        """Queue one job again."""
        ...

    async def redrive(
        self, redrive: Redrive, *, tenant: str, actor: str, attempts: Mapping[str, int]
    ) -> JobsRedriven:
        """Queue many jobs again."""
        ...


class Audit(Protocol):
    """See store/audit.py."""

    async def page(self, *, tenant: str, limit: int, cursor: str | None) -> JobAudit:
        """Read entries, newest first."""
        ...


class Reads(Protocol):
    """See store/reads.py."""

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id."""
        ...


class Served(Protocol):
    """The types that live workers serve; see served_types.py."""

    async def attempts(self) -> Mapping[str, int]:
        """Return the attempts of each type that a live worker serves."""
        ...


class Steering:
    """Sees and changes the asking tenant's jobs alone, but for limits of the platform."""

    def __init__(
        self,
        *,
        obstacles: Obstacles,
        limits: Limits,
        reviving: Reviving,
        audit: Audit,
        reads: Reads,
        served: Served,
    ) -> None:
        self._obstacles = obstacles
        self._limits = limits
        self._reviving = reviving
        self._audit = audit
        self._reads = reads
        self._served = served

    async def explain(self, envelope: Envelope[ExplainJob]) -> JobExplained:
        """Answer ExplainJob."""
        job_id = envelope.data.job_id
        served = frozenset(await self._served.attempts())
        facts = await self._obstacles.facts(job_id, tenant=envelope.tenant, served=served)
        if facts is None:
            raise ProblemError(JOB_NOT_FOUND)
        return JobExplained(job_id=job_id, state=facts.state, reasons=explain(facts))

    async def set_limit(self, envelope: Envelope[SetJobLimit]) -> JobLimitSet:
        """Answer SetJobLimit."""
        command = envelope.data
        view = await self._limits.set(
            command.name,
            command.limit,
            tenant=envelope.tenant,
            actor=command.actor,
            every_tenant=command.every_tenant,
        )
        if view is None:
            raise ProblemError(TOO_MANY_LIMITS)
        return JobLimitSet(limit=view)

    async def delete_limit(self, envelope: Envelope[DeleteJobLimit]) -> JobLimitDeleted:
        """Answer DeleteJobLimit."""
        command = envelope.data
        if not await self._limits.delete(
            command.name,
            tenant=envelope.tenant,
            actor=command.actor,
            every_tenant=command.every_tenant,
        ):
            raise ProblemError(LIMIT_NOT_FOUND)
        return JobLimitDeleted(name=command.name)

    async def list_limits(self, envelope: Envelope[ListJobLimits]) -> JobLimits:
        """Answer ListJobLimits."""
        return JobLimits(limits=tuple(await self._limits.list(tenant=envelope.tenant)))

    async def retry(self, envelope: Envelope[RetryJob]) -> JobRetried:
        """Answer RetryJob."""
        job_id, tenant = envelope.data.job_id, envelope.tenant
        attempts = await self._served.attempts()
        job_type = await self._reviving.type_of(job_id, tenant=tenant)
        retried = job_type is not None and await self._reviving.retry(
            job_id,
            tenant=tenant,
            actor=envelope.data.actor,
            attempts=attempts.get(job_type, ATTEMPTS_MAX),
        )
        view = (await self._reads.views([job_id], tenant=tenant)).get(job_id)
        if view is None:
            raise ProblemError(JOB_NOT_FOUND)
        if not retried:
            raise ProblemError(_not_retryable(view))
        return JobRetried(job=view)

    async def redrive(self, envelope: Envelope[RedriveJobs]) -> JobsRedriven:
        """Answer RedriveJobs."""
        _check_spread(envelope.data.redrive)
        return await self._reviving.redrive(
            envelope.data.redrive,
            tenant=envelope.tenant,
            actor=envelope.data.actor,
            attempts=await self._served.attempts(),
        )

    async def list_audit(self, envelope: Envelope[ListJobAudit]) -> JobAudit:
        """Answer ListJobAudit."""
        question = envelope.data
        return await self._audit.page(
            tenant=envelope.tenant, limit=question.limit, cursor=question.cursor
        )


def _check_spread(redrive: Redrive) -> None:
    """Refuse what would start jobs later than a submission may; raises ProblemError."""
    if redrive.per_second is None:
        return
    if (redrive.jobs_max - 1) / redrive.per_second > AHEAD_MAX.total_seconds():
        message = f"the last of {redrive.jobs_max} jobs would start in more than ten years"
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The jobs cannot be spread so far",
                status=422,
                errors=(FieldProblem(pointer="/per_second", code="too_late", message=message),),
            )
        )


def _not_retryable(view: JobView) -> Problem:
    taken = " and its unique key is another job's by now" if view.state.is_final else ""
    return Problem(
        code="job_not_retryable",
        title="The job cannot run again",
        detail=f"It is {view.state}{taken}.",
        status=409,
    )
