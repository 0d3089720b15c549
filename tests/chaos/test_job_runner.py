"""The job-runner is killed and frozen: nothing accepted is lost, nothing ends twice."""

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from lineshaft_common import messaging
from lineshaft_common.messaging import RabbitBus
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import GetJob, JobAccepted, JobState, JobView, SubmitJob

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

PLUGIN = Path(__file__).parents[2] / "services" / "job-runner" / "tests" / "plugin"
DEADLINE_SECONDS = 120.0
LEASE_SECONDS = 2.0


class Worker:
    """A job-runner process of this test."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self._log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lineshaft_job_runner",
                env=self._environment,
                stdout=log,
                stderr=log,
                stdin=asyncio.subprocess.DEVNULL,
            )

    async def end(self, how: signal.Signals) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)
        await self.process.wait()

    def signal(self, how: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(how)


@asynccontextmanager
async def worker(
    name: str, amqp_url: str, postgres_url: str, folder: Path
) -> AsyncGenerator[Worker]:
    environment = {
        **os.environ,
        "PYTHONPATH": str(PLUGIN),
        "LINESHAFT_AMQP_URL": amqp_url,
        "LINESHAFT_POSTGRES_URL": postgres_url,
        "LINESHAFT_HTTP_PORT": "0",
        "LINESHAFT_INSTANCE": name,
        "LINESHAFT_OBJECT_STORE_URL": (folder / "objects").as_uri(),
        "LINESHAFT_LEASE_SECONDS": str(LEASE_SECONDS),
        "LINESHAFT_PROCESSES_MAX": "2",
        "LINESHAFT_CHILD_IDLE_SECONDS": "5",
    }
    made = Worker(environment, folder / f"{name}.log")
    await made.start()
    try:
        yield made
    finally:
        made.signal(signal.SIGCONT) if made.process and made.process.returncode is None else None
        await made.end(signal.SIGKILL)


async def submit(bus: RabbitBus, job_id: UUID, job_type: str, parameters: dict[str, Any]) -> None:
    """Submit until the runner has said that it has the job, as a client that retries."""
    command = SubmitJob(job_id=job_id, job_type=job_type, parameters=parameters)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                reply: JobAccepted = await bus.ask(
                    command, tenant="acme", source="/services/test", deadline_seconds=2
                )
            except (messaging.NoReplyError, messaging.PublishError):
                continue
            assert reply.job.id == job_id
            return


async def all_end(bus: RabbitBus, ids: list[UUID]) -> list[JobView]:
    """Wait until the jobs have ended, and return what the runner tells about them."""
    views: list[JobView] = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        for job_id in ids:
            while (view := await look(bus, job_id)) is None or view.finished_at is None:
                await asyncio.sleep(0.2)
            views.append(view)
    return views


async def look(bus: RabbitBus, job_id: UUID) -> JobView | None:
    """Ask for a job; None while no runner answers."""
    try:
        found = await bus.ask(
            GetJob(job_id=job_id), tenant="acme", source="/services/test", deadline_seconds=5
        )
    except (messaging.NoReplyError, messaging.PublishError):
        return None
    return found.job


async def test_a_killed_runner_loses_no_job_and_ends_none_twice(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 - pytest shows it when the test fails.
    chance = random.Random(seed)
    ledger = tmp_path / "ledger"
    ids = [uuid7() for _ in range(60)]
    async with (
        worker("one", fresh_amqp_url, postgres_url, tmp_path) as one,
        messaging.connect(fresh_amqp_url, name="test") as bus,
    ):

        async def submit_all() -> None:
            for number, job_id in enumerate(ids):
                parameters = {"ledger": str(ledger), "seconds": chance.uniform(0, 0.3)}
                job_type = "trial.work" if number % 3 == 0 else "trial.wait"
                await submit(bus, job_id, job_type, parameters)

        submitting = asyncio.create_task(submit_all())
        for _ in range(4):
            await asyncio.sleep(chance.uniform(1.5, 3.5))  # The moment of the kill is the test.
            await one.end(signal.SIGKILL)
            await one.start()
        await submitting
        jobs = await all_end(bus, ids)
    states = Counter(str(job.state) for job in jobs)
    assert set(states) <= {"succeeded", "quarantined"}
    # Only a job that was there at three of the kills may be in quarantine.
    assert states["succeeded"] >= len(ids) - 4
    outcomes = {str(job.id): Counter(a.outcome for a in job.attempts) for job in jobs}
    succeeded = {str(job.id) for job in jobs if job.state is JobState.SUCCEEDED}
    assert all(outcomes[job_id]["succeeded"] == 1 for job_id in succeeded)
    lines = [line.split() for line in ledger.read_text().splitlines()]
    effects = Counter((job_id, attempt) for job_id, attempt, _ in lines)
    assert max(effects.values()) == 1, "an attempt ran twice"
    assert succeeded <= {job_id for job_id, _ in effects}
    repeated = Counter(job_id for job_id, _ in effects)
    assert all(count <= 1 + outcomes[job_id]["lost"] for job_id, count in repeated.items())


async def test_a_runner_that_was_frozen_cannot_end_what_another_took_over(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    ledger, job_id = tmp_path / "ledger", uuid7()
    async with (
        messaging.connect(fresh_amqp_url, name="test") as bus,
        worker("frozen", fresh_amqp_url, postgres_url, tmp_path) as frozen,
    ):
        parameters = {"ledger": str(ledger), "seconds": 3}
        await submit(bus, job_id, "trial.work", parameters)
        await running_on(postgres_url, job_id, "frozen")
        frozen.signal(signal.SIGSTOP)
        async with worker("other", fresh_amqp_url, postgres_url, tmp_path):
            (job,) = await all_end(bus, [job_id])
            frozen.signal(signal.SIGCONT)
            await noticed(tmp_path / "frozen.log", "lease_lost")
    assert (job.state, job.attempt) == (JobState.SUCCEEDED, 2)
    assert [(a.number, a.outcome) for a in job.attempts] == [(1, "lost"), (2, "succeeded")]


async def running_on(postgres_url: str, job_id: UUID, name: str) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (
                await connection.fetchval(
                    "SELECT worker FROM jobs WHERE id = $1 AND state = 'running'", job_id
                )
                != name
            ):
                await asyncio.sleep(0.05)
    finally:
        await connection.close()


async def noticed(log: Path, event: str) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while event not in log.read_text():  # noqa: ASYNC240 - a small file.
            await asyncio.sleep(0.1)
