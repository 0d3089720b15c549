"""A running engine on real servers, and workers that speak to it over AMQP."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from lineshaft_cli.local import definitions
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.virtual_host import Management, with_path
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import RabbitBus
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import PLATFORM_TENANT, uuid7
from lineshaft_contracts.job_catalogue import JobTypeView, ListJobTypes
from lineshaft_contracts.job_work import (
    Beat,
    BeatWork,
    EndWork,
    FetchWork,
    OfferedType,
    OfferWork,
    WorkEnd,
    WorkHeld,
    WorkItem,
    WorkOffered,
    WorkOutcome,
)
from lineshaft_contracts.jobs import CancelJob, GetJob, JobAccepted, JobState, JobView, SubmitJob
from lineshaft_job_runner.__main__ import run_engine
from lineshaft_job_runner.settings import Settings

ROOT = Path(__file__).parents[4]
DEADLINE_SECONDS = 30.0
SOURCE = "/services/test"
LABELS = "label.print"


class ForeignWorker:
    """What a worker in another language says, said with our bus."""

    def __init__(self, bus: RabbitBus, name: str) -> None:
        self._bus = bus
        self.name = name

    async def _ask(self, question: Any) -> Any:
        return await self._bus.ask(
            question, tenant=PLATFORM_TENANT, source="/workers/test", deadline_seconds=10
        )

    async def offer(self, job_type: str = LABELS, **more: Any) -> WorkOffered:
        title: str = more.pop("title", "Print labels")
        offered = OfferedType(name=job_type, title=title, **more)
        return await self._ask(OfferWork(worker=self.name, job_types=(offered,)))

    async def fetch(self, *job_types: str, jobs_max: int = 10) -> list[WorkItem]:
        """Ask once."""
        question = FetchWork(worker=self.name, job_types=job_types or (LABELS,), jobs_max=jobs_max)
        return list((await self._ask(question)).jobs)

    async def next(self, *job_types: str) -> WorkItem:
        """Ask until there is a job."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not (jobs := await self.fetch(*job_types, jobs_max=1)):
                await asyncio.sleep(0.05)
        return jobs[0]

    async def beat(self, *items: WorkItem, **more: Any) -> WorkHeld:
        beats = tuple(Beat(job_id=i.job_id, lease_token=i.lease_token, **more) for i in items)
        return await self._ask(BeatWork(beats=beats))

    async def end(self, item: WorkItem, outcome: WorkOutcome, **more: Any) -> bool:
        """Report an end; whether it was stored."""
        end = WorkEnd(job_id=item.job_id, lease_token=item.lease_token, outcome=outcome, **more)
        return item.lease_token in (await self._ask(EndWork(ends=(end,)))).stored


class Platform:
    """The engine's surroundings, and what a client does."""

    def __init__(self, bus: RabbitBus, pool: Pool, settings: Settings) -> None:
        self.bus = bus
        self.pool = pool
        self.settings = settings

    @asynccontextmanager
    async def engine(self, **changes: Any) -> AsyncGenerator[None]:
        """Run an engine inside the block."""
        settings = self.settings.model_copy(update=changes)
        url = str(settings.postgres_url)
        async with (
            postgres.connect(url, name="leases", connections_max=3) as leases,
            run_engine(settings, self.pool, self.bus, leases=leases),
        ):
            yield

    def worker(self, name: str = "labels-1") -> ForeignWorker:
        return ForeignWorker(self.bus, name)

    async def submit(
        self, job_type: str = LABELS, parameters: Mapping[str, Any] | None = None, **more: Any
    ) -> UUID:
        """Submit a job and get the runner's answer."""
        command = SubmitJob(
            job_id=uuid7(), job_type=job_type, parameters=dict(parameters or {}), **more
        )
        accepted: JobAccepted = await self.bus.ask(
            command, tenant="acme", source=SOURCE, deadline_seconds=10
        )
        return accepted.job.id

    async def cancel(self, job_id: UUID) -> None:
        await self.bus.ask(
            CancelJob(job_id=job_id), tenant="acme", source=SOURCE, deadline_seconds=10
        )

    async def job(self, job_id: UUID) -> JobView:
        """Look at a job."""
        found = await self.bus.ask(
            GetJob(job_id=job_id), tenant="acme", source=SOURCE, deadline_seconds=10
        )
        return found.job

    async def becomes(self, job_id: UUID, *states: JobState) -> JobView:
        """Wait until a job is in one of the states."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (view := await self.job(job_id)).state not in states:
                await asyncio.sleep(0.05)
        return view

    async def types(self) -> dict[str, JobTypeView]:
        """Ask which types are served."""
        answer = await self.bus.ask(
            ListJobTypes(), tenant="acme", source=SOURCE, deadline_seconds=10
        )
        return {view.name: view for view in answer.job_types}


@pytest.fixture(scope="session")
def remote_amqp_url(rabbitmq_endpoints: Endpoints) -> Generator[str]:
    """One virtual host for all these tests: each of them waits for what it caused."""
    if rabbitmq_endpoints.amqp is None or rabbitmq_endpoints.rabbitmq_management is None:
        pytest.fail("set LINESHAFT_RABBITMQ_MANAGEMENT_URL beside LINESHAFT_AMQP_URL")
    management = Management(rabbitmq_endpoints.rabbitmq_management)
    name = f"test-{secrets.token_hex(4)}"
    management.create(name, definitions.topology(ROOT))
    try:
        yield with_path(rabbitmq_endpoints.amqp, name)
    finally:
        management.delete(name)


@pytest.fixture
async def platform(
    remote_amqp_url: str, postgres_url: str, tmp_path: Path
) -> AsyncGenerator[Platform]:
    settings = Settings.model_validate(
        {
            "amqp_url": remote_amqp_url,
            "postgres_url": postgres_url,
            "instance": "one",
            "object_store_url": (tmp_path / "objects").as_uri(),
            "lease_seconds": 15.0,
            "stop_grace_seconds": 1.0,
            "cancel_grace_seconds": 0.5,
        }
    )
    async with (
        postgres.connect(
            postgres_url, "lineshaft_common", "lineshaft_job_runner", name="t"
        ) as pool,
        messaging.connect(remote_amqp_url, name="test") as bus,
    ):
        yield Platform(bus, pool, settings)
