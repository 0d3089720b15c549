"""Answers to the questions about jobs; each sees the asking tenant's jobs alone."""

import asyncio
import time
from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.job_statistics import GetJobStats, JobStats
from lineshaft_contracts.jobs import (
    ArtifactFound,
    FindArtifact,
    GetJob,
    JobFound,
    JobPage,
    JobView,
    ListJobs,
)
from lineshaft_contracts.problems import Problem, ProblemError

STATS_KEPT_SECONDS = 2.0
"""How old statistics may be: they read much, and dashboards ask often."""

JOB_NOT_FOUND = Problem(code="job_not_found", title="No such job", status=404)
ARTIFACT_NOT_FOUND = Problem(code="artifact_not_found", title="No such artifact", status=404)


class Reads(Protocol):
    """What the answers ask of the store; see store/reads.py."""

    async def views(self, job_ids: Sequence[UUID], *, tenant: str | None) -> dict[UUID, JobView]:
        """Find jobs by id."""
        ...

    async def page(self, question: ListJobs, *, tenant: str) -> JobPage:
        """List jobs."""
        ...

    async def stats(self, *, tenant: str) -> JobStats:
        """Compute statistics."""
        ...

    async def artifact(self, job_id: UUID, name: str, *, tenant: str) -> ArtifactFound | None:
        """Find an artifact."""
        ...


class Answering:
    """Answers over AMQP what the gateway is asked over HTTP."""

    def __init__(self, reads: Reads) -> None:
        self._reads = reads
        self._stats: dict[str, tuple[float, asyncio.Task[JobStats]]] = {}

    async def get_job(self, envelope: Envelope[GetJob]) -> JobFound:
        """Answer GetJob."""
        job_id = envelope.data.job_id
        view = (await self._reads.views([job_id], tenant=envelope.tenant)).get(job_id)
        if view is None:
            raise ProblemError(JOB_NOT_FOUND)
        return JobFound(job=view)

    async def list_jobs(self, envelope: Envelope[ListJobs]) -> JobPage:
        """Answer ListJobs."""
        return await self._reads.page(envelope.data, tenant=envelope.tenant)

    async def get_stats(self, envelope: Envelope[GetJobStats]) -> JobStats:
        """Answer GetJobStats: who asks again soon, or meanwhile, shares one look."""
        now = time.monotonic()
        self._stats = {t: kept for t, kept in self._stats.items() if kept[0] > now}
        kept = self._stats.get(envelope.tenant)
        if kept is None or (kept[1].done() and kept[1].exception() is not None):
            look = asyncio.create_task(self._reads.stats(tenant=envelope.tenant))
            kept = self._stats[envelope.tenant] = (now + STATS_KEPT_SECONDS, look)
        return await asyncio.shield(kept[1])

    async def find_artifact(self, envelope: Envelope[FindArtifact]) -> ArtifactFound:
        """Answer FindArtifact."""
        question = envelope.data
        found = await self._reads.artifact(question.job_id, question.name, tenant=envelope.tenant)
        if found is None:
            raise ProblemError(ARTIFACT_NOT_FOUND)
        return found
