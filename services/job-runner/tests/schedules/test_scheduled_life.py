"""A schedule's jobs run in a whole engine, on a real broker and a real database."""

import asyncio
import os
import sys
from pathlib import Path
from typing import TypeVar

import pytest
from lineshaft_common import messaging, postgres
from lineshaft_contracts.envelope import Asking, Message
from lineshaft_contracts.job_schedules import (
    DeleteJobSchedule,
    Fire,
    JobSchedule,
    ListJobFires,
    ListJobSchedules,
    PreviewJobSchedule,
    SetJobSchedule,
)
from lineshaft_contracts.jobs import GetJob, JobState
from lineshaft_job_runner.__main__ import run_engine
from lineshaft_job_runner.settings import Settings

pytestmark = pytest.mark.integration

PLUGIN = Path(__file__).parent.parent / "plugin"
DEADLINE_SECONDS = 60.0
R = TypeVar("R", bound=Message)


async def test_a_schedule_is_set_fires_runs_is_told_and_deleted(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), *sys.path[:0]]))
    settings = Settings.model_validate(
        {
            "amqp_url": fresh_amqp_url,
            "postgres_url": postgres_url,
            "instance": "one",
            "object_store_url": (tmp_path / "objects").as_uri(),
        }
    )
    packages = ("lineshaft_common", "lineshaft_job_runner")
    async with (
        postgres.connect(postgres_url, *packages, name="t") as pool,
        postgres.connect(postgres_url, name="leases", connections_max=3) as leases,
        messaging.connect(fresh_amqp_url, name="test") as bus,
        run_engine(settings, pool, bus, leases=leases),
    ):

        async def ask(question: Asking[R]) -> R:
            return await bus.ask(
                question, tenant="acme", source="/services/test", deadline_seconds=30
            )

        async def submitted() -> Fire:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while True:
                    fires = await ask(ListJobFires(name="often"))
                    if found := [f for f in fires.past if f.outcome == "submitted"]:
                        return found[-1]
                    await asyncio.sleep(0.05)

        schedule = JobSchedule(job_type="trial.wait", every_seconds=1)
        preview = await ask(PreviewJobSchedule(schedule=schedule, limit=3))
        assert len(preview.coming) == 3
        await ask(SetJobSchedule(name="often", schedule=schedule, actor="lsk_test"))
        fire = await submitted()
        assert fire.job_id is not None
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (job := (await ask(GetJob(job_id=fire.job_id))).job).finished_at is None:
                await asyncio.sleep(0.05)
        assert (job.state, job.schedule) == (JobState.SUCCEEDED, "often")
        await ask(DeleteJobSchedule(name="often", actor="lsk_test"))
        assert (await ask(ListJobSchedules())).schedules == ()
        assert (await ask(GetJob(job_id=fire.job_id))).job.id == fire.job_id
