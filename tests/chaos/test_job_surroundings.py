"""What jobs stand on fails: the database, the broker, its memory; and the keeper of schedules."""

import asyncio
import os
import random
import signal
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator
from itertools import pairwise
from pathlib import Path

import asyncpg
import pytest
from lineshaft_cli.local.throwaway import Servers
from lineshaft_contracts.job_schedules import (
    JobSchedule,
    ListJobFires,
    OnBusy,
    OnMissed,
    SetJobSchedule,
)

from .fleet import DEADLINE_SECONDS, ROUNDS, Fleet

pytestmark = [
    pytest.mark.integration,
    pytest.mark.chaos,
    pytest.mark.parametrize("number", range(ROUNDS)),
]


@pytest.fixture
async def fleet(number: int, servers_to_kill: Servers, tmp_path: Path) -> AsyncGenerator[Fleet]:
    """Provide a fleet on servers that may be killed, with the jobs of no earlier test."""
    endpoints = servers_to_kill.endpoints
    assert endpoints.amqp is not None
    postgres_url = endpoints.databases["job_runner"]
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    await connection.close()
    async with Fleet.on(endpoints.amqp, postgres_url, tmp_path) as fleet:
        yield fleet


async def kill(servers: Servers, name: str) -> None:
    """Kill a server's own process and wait until its supervisor has started another."""
    before, process = servers.restarts(name), servers.process(name)
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while servers.restarts(name) == before or servers.process(name) is None:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", ["postgres", "rabbitmq"])
async def test_a_killed_server_loses_no_job_and_lets_none_be_done_twice(
    fleet: Fleet, servers_to_kill: Servers, name: str
) -> None:
    jobs = [fleet.job(parameters={"seconds": random.uniform(0, 0.3)}) for _ in range(60)]

    async def evil() -> None:
        await asyncio.sleep(random.uniform(2, 4))
        await kill(servers_to_kill, name)

    async with fleet.worker("one"), fleet.worker("other"):
        views = await fleet.through(jobs, evil)
    # While the database is away leases cannot be kept: a job may be lost to that, once.
    fleet.agrees(views, losses_max=1)


def rabbitmqctl(servers: Servers, *arguments: str) -> None:
    """Run the broker's own command in the broker's own environment."""
    process = servers.process("rabbitmq")
    assert process is not None
    entries = Path(f"/proc/{process.pid}/environ").read_bytes().decode().split("\0")
    environment = dict(entry.split("=", 1) for entry in entries if "=" in entry)
    command = ["rabbitmqctl", "-n", environment["RABBITMQ_NODENAME"], *arguments]
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=60)


async def test_a_memory_alarm_of_the_broker_delays_jobs_and_loses_none(
    fleet: Fleet, servers_to_kill: Servers
) -> None:
    jobs = [fleet.job() for _ in range(200)]

    async def evil() -> None:
        await asyncio.sleep(1)
        watermark = ("set_vm_memory_high_watermark", "absolute")
        await asyncio.to_thread(rabbitmqctl, servers_to_kill, *watermark, "1MB")
        await asyncio.sleep(random.uniform(3, 8))
        await asyncio.to_thread(rabbitmqctl, servers_to_kill, *watermark, "1GB")

    async with fleet.worker("one"):
        await fleet.submit(fleet.job())  # From now on there is somebody to take them.
        views = await fleet.through(jobs, evil)
    fleet.agrees(views, losses_max=0)


async def test_killed_keepers_fire_each_moment_of_a_schedule_once(fleet: Fleet) -> None:
    schedule = JobSchedule(
        job_type="trial.wait",
        parameters={"ledger": str(fleet.ledger)},
        every_seconds=1,
        on_missed=OnMissed.ALL,
        on_busy=OnBusy.RUN,
    )
    command = SetJobSchedule(name="often", schedule=schedule, actor="test")
    stopped = command.model_copy(update={"schedule": schedule.model_copy(update={"paused": True})})
    async with fleet.worker("one") as one, fleet.worker("other") as other:
        await fleet.insist(command)
        for _ in range(3):
            await asyncio.sleep(random.uniform(1, 3))
            await random.choice([one, other]).killed_and_started()
        await asyncio.sleep(2)
        await fleet.insist(stopped)
        fires = (await fleet.insist(ListJobFires(name="often", limit=500))).past
        fired = [fire for fire in fires if fire.job_id is not None]
        views = await fleet.ends([fire.job_id for fire in fired if fire.job_id is not None])
    moments = sorted(fire.fire_at.timestamp() for fire in fires)
    assert len(moments) >= 6
    assert max(Counter(moments).values()) == 1
    assert {later - earlier for earlier, later in pairwise(moments)} == {1.0}
    assert {fire.outcome for fire in fires} == {"submitted"}
    fleet.agrees(views, losses_max=2)
    assert {job_id for job_id, _ in fleet.effects()} == {str(fire.job_id) for fire in fired}
