"""Parameters that are too large for a row are as good as others, and leave nothing behind."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from lineshaft_common.objects import Objects
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import (
    PARAMETERS_BYTES_MAX,
    PARAMETERS_INLINE_BYTES_MAX,
    JobAccepted,
    JobState,
    JobView,
)
from lineshaft_contracts.problems import ProblemError
from lineshaft_job_runner.retention import Retention
from lineshaft_job_runner.store.history import HistoryStore

pytestmark = pytest.mark.integration

NOTE = "\u00e9" * 40_000  # 80,000 bytes, but fewer characters than are kept in a row.


class Plant(Protocol):
    pool: Any
    settings: Any

    def engine(self, **changes: Any) -> Any: ...
    async def submit(self, job_type: str, parameters: Any, **more: Any) -> JobAccepted: ...
    async def job(self, job_id: UUID, *, tenant: str = "acme") -> JobView: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


def stored(plant: Plant) -> Sequence[Path]:
    folder = Path(urlsplit(str(plant.settings.object_store_url)).path)
    return [path for path in folder.rglob("*.json") if path.is_file()]


def put_out_of_reach(folder: Path) -> None:
    """Let the object store answer with an error that does not say that it has nothing."""
    folder.rename(folder.with_suffix(".moved"))
    folder.touch()


@pytest.mark.parametrize("job_type", ["trial.wait", "trial.work"])
async def test_a_job_is_given_them_at_each_attempt(plant: Plant, job_type: str) -> None:
    parameters = {"act": "fail", "until_attempt": 1, "note": NOTE}
    async with plant.engine():
        accepted = await plant.submit(job_type, parameters)
        job = await plant.becomes(accepted.job.id, JobState.SUCCEEDED)
    assert accepted.job.parameters["note"] == job.parameters["note"] == NOTE
    assert job.result == {"attempt": 2, "note_characters": len(NOTE)}
    size = await plant.pool.fetchval("SELECT octet_length(parameters::text) FROM job_history")
    assert size < 300


async def test_they_stay_in_the_row_up_to_a_size(plant: Plant) -> None:
    async with plant.engine():
        fits = "x" * (PARAMETERS_INLINE_BYTES_MAX - 200)  # The rest has about 80 bytes.
        await plant.submit("trial.wait", {"note": fits})
        assert not stored(plant)
        await plant.submit("trial.wait", {"note": fits + "x" * 200})
        assert len(stored(plant)) == 1
        with pytest.raises(ProblemError, match="at most 1000000 bytes"):
            await plant.submit("trial.wait", {"note": "x" * PARAMETERS_BYTES_MAX})


async def test_a_repeat_keeps_those_of_the_first_and_leaves_none(plant: Plant) -> None:
    job_id = uuid7()
    async with plant.engine():
        first = await plant.submit(
            "trial.wait", {"note": NOTE}, job_id=job_id, idempotency_key="order 17"
        )
        same_id = await plant.submit("trial.wait", {"note": NOTE + "other"}, job_id=job_id)
        same_key = await plant.submit(
            "trial.wait", {"note": NOTE + "another"}, idempotency_key="order 17"
        )
        assert (first.created, same_id.created, same_key.created) == (True, False, False)
        assert {first.job.id, same_id.job.id, same_key.job.id} == {job_id}
        job = await plant.becomes(job_id, JobState.SUCCEEDED)
    assert job.parameters["note"] == NOTE
    assert {path.parent.name for path in stored(plant)} == {str(job_id)}


async def test_a_job_whose_parameters_are_gone_says_so(plant: Plant) -> None:
    async with plant.engine():
        later = datetime.now(UTC) + timedelta(seconds=1)
        accepted = await plant.submit("trial.wait", {"note": NOTE}, run_at=later)
        (path,) = stored(plant)
        path.unlink()
        job = await plant.becomes(accepted.job.id, JobState.FAILED)
    assert job.error is not None
    assert job.error.code == "parameters_missing"
    assert job.parameters == {}


async def test_they_are_forgotten_with_their_job(plant: Plant) -> None:
    async with plant.engine():
        accepted = await plant.submit("trial.wait", {"note": NOTE})
        await plant.becomes(accepted.job.id, JobState.SUCCEEDED)
    await plant.pool.execute("SELECT job_history_make_day((now() - interval '9 days')::date)")
    await plant.pool.execute("UPDATE job_history SET finished_at = now() - interval '9 days'")
    objects = Objects(plant.settings.object_store_url)
    await Retention(HistoryStore(plant.pool), objects, days=5).forget()
    assert stored(plant) == []


async def test_without_its_object_store_the_engine_takes_and_runs_jobs_all_the_same(
    plant: Plant,
) -> None:
    async with plant.engine():
        put_out_of_reach(Path(urlsplit(str(plant.settings.object_store_url)).path))
        large = await plant.submit("trial.wait", {"note": NOTE})
        small = await plant.submit("trial.wait", {})
        job = await plant.becomes(large.job.id, JobState.SUCCEEDED)
        await plant.becomes(small.job.id, JobState.SUCCEEDED)
    assert large.job.parameters["note"] == job.parameters["note"] == NOTE
    assert job.result == {"attempt": 1, "note_characters": len(NOTE)}


async def test_what_became_of_a_job_is_told_without_its_object_store(plant: Plant) -> None:
    async with plant.engine():
        accepted = await plant.submit("trial.wait", {"note": NOTE})
        await plant.becomes(accepted.job.id, JobState.SUCCEEDED)
        (path,) = stored(plant)
        put_out_of_reach(path.parent)
        job = await plant.job(accepted.job.id)
    assert (job.state, job.parameters) == (JobState.SUCCEEDED, {})
