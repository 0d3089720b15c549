"""A running engine on a real broker and a real database, with the trial job types installed."""

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import pytest
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import RabbitBus
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Asking, Message, uuid7
from lineshaft_contracts.jobs import GetJob, JobAccepted, JobState, JobView, SubmitJob
from lineshaft_job_runner.__main__ import run_engine
from lineshaft_job_runner.settings import Settings

PLUGIN = Path(__file__).parent.parent / "plugin"
DEADLINE_SECONDS = 60.0
SOURCE = "/services/test"

R = TypeVar("R", bound=Message)


class Plant:
    """The engine's surroundings, and what a client does."""

    def __init__(self, bus: RabbitBus, pool: Pool, settings: Settings) -> None:
        self.bus = bus
        self.pool = pool
        self.settings = settings

    @asynccontextmanager
    async def engine(self, **changes: Any) -> AsyncGenerator[None]:
        """Run an engine inside the block."""
        settings = self.settings.model_copy(update=changes)
        async with (
            postgres.connect(
                str(settings.postgres_url), name="leases", connections_max=3
            ) as leases,
            run_engine(settings, self.pool, self.bus, leases=leases),
        ):
            yield

    async def submit(
        self, job_type: str, parameters: Mapping[str, Any], *, tenant: str = "acme", **more: Any
    ) -> JobAccepted:
        """Submit a job and get the runner's answer."""
        command = SubmitJob(
            job_id=more.pop("job_id", None) or uuid7(),
            job_type=job_type,
            parameters=dict(parameters),
            **more,
        )
        return await self.ask(command, tenant=tenant)

    async def job(self, job_id: UUID, *, tenant: str = "acme") -> JobView:
        """Look at a job."""
        return (await self.ask(GetJob(job_id=job_id), tenant=tenant)).job

    async def ask(self, question: Asking[R], *, tenant: str = "acme") -> R:
        """Ask the runner, with more patience than a user has."""
        return await self.bus.ask(question, tenant=tenant, source=SOURCE, deadline_seconds=30)

    async def becomes(self, job_id: UUID, *states: JobState) -> JobView:
        """Wait until a job is in one of the states."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (view := await self.job(job_id)).state not in states:
                await asyncio.sleep(0.05)
        return view


@pytest.fixture
async def plant(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Plant]:
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGIN), *sys.path[:0]]))
    settings = Settings.model_validate(
        {
            "amqp_url": fresh_amqp_url,
            "postgres_url": postgres_url,
            "instance": "one",
            "object_store_url": (tmp_path / "objects").as_uri(),
            "lease_seconds": 30.0,
            "stop_grace_seconds": 1.0,
            "cancel_grace_seconds": 0.5,
        }
    )
    async with (
        postgres.connect(
            postgres_url, "lineshaft_common", "lineshaft_job_runner", name="t"
        ) as pool,
        messaging.connect(fresh_amqp_url, name="test") as bus,
    ):
        yield Plant(bus, pool, settings)
