"""What a client asked for while the job-runner was away holds when that is back."""

from typing import Any, Protocol
from uuid import UUID

import pytest
from lineshaft_contracts.envelope import envelop, uuid7
from lineshaft_contracts.jobs import CancelJob, JobState, JobView, SubmitJob

pytestmark = pytest.mark.integration

JOBS = 300
SOURCE = "/services/test"


class Plant(Protocol):
    bus: Any

    def engine(self, **changes: Any) -> Any: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


async def test_jobs_that_were_submitted_and_cancelled_meanwhile_are_cancelled(
    plant: Plant,
) -> None:
    async with plant.engine():
        pass  # So that there are queues.
    ids = [uuid7() for _ in range(JOBS)]
    submitted = [
        SubmitJob(job_id=i, job_type="trial.wait", parameters={"act": "hang"}) for i in ids
    ]
    cancelled = [CancelJob(job_id=i) for i in reversed(ids)]
    for command in (*submitted, *cancelled):
        await plant.bus.publish(envelop(command, source=SOURCE, tenant="acme", subject="job"))
    async with plant.engine():
        for job_id in (*ids[:5], *ids[-5:]):
            await plant.becomes(job_id, JobState.CANCELLED)
