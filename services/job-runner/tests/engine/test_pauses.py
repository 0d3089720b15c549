"""Jobs that go on in another attempt: from a checkpoint, after a snooze, after their children."""

from typing import Any, Protocol
from uuid import UUID

import pytest
from lineshaft_contracts.jobs import JobAccepted, JobState, JobView

pytestmark = pytest.mark.integration


class Plant(Protocol):
    def engine(self, **changes: Any) -> Any: ...
    async def submit(self, job_type: str, parameters: Any, **more: Any) -> JobAccepted: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


async def test_a_job_goes_on_after_the_children_that_it_submitted(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.work", {"act": "wait_for_children"})).job.id
        view = await plant.becomes(job_id, JobState.SUCCEEDED)
    assert view.result == {"attempt": 1, "children": {"succeeded": 3}}
    assert view.children == {"succeeded": 3}
    assert [a.outcome for a in view.attempts] == ["waiting", "succeeded"]


async def test_a_retry_goes_on_from_the_checkpoint(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.work", {"act": "keep", "until_attempt": 1})).job.id
        view = await plant.becomes(job_id, JobState.SUCCEEDED)
    assert view.result == {"attempt": 2, "restored": {"done": 29}}


async def test_a_job_that_snoozes_is_scheduled_and_has_used_no_attempt(plant: Plant) -> None:
    async with plant.engine():
        job_id = (await plant.submit("trial.work", {"act": "snooze"})).job.id
        view = await plant.becomes(job_id, JobState.SCHEDULED)
    assert view.attempt == 0
    assert view.run_at is not None
    assert view.progress.message == "the supplier's file is not there yet"
    assert [a.outcome for a in view.attempts] == ["snoozed"]
