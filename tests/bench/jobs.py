"""Durable jobs per second: submitted over AMQP, run as no-ops, their ends stored. `make bench`.

One job-runner process on a private RabbitMQ and a private PostgreSQL, both with their default
durability. Prints one JSON line per round: end-to-end jobs/s, and CPU microseconds of the runner
per job, which move less than jobs/s on a shared machine.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import asyncpg
import psutil
from lineshaft_cli.local import throwaway
from lineshaft_common import messaging
from lineshaft_contracts.envelope import Envelope, envelop, uuid7
from lineshaft_contracts.jobs import SubmitJob

ROOT = Path(__file__).parents[2]
PLUGIN = ROOT / "services" / "job-runner" / "tests" / "plugin"
BATCH = 500


def submission() -> Envelope[SubmitJob]:
    """Write a job that does nothing."""
    command = SubmitJob(job_id=uuid7(), job_type="trial.wait", parameters={})
    return envelop(command, source="/services/bench", tenant="acme")


async def round_trip(bus: messaging.Bus, database: asyncpg.Connection, jobs: int) -> float:
    """Submit so many jobs and wait until all have ended; jobs per second."""
    before = await database.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
    began = time.perf_counter()
    for start in range(0, jobs, BATCH):
        size = min(BATCH, jobs - start)
        outcomes = await bus.publish_many([submission() for _ in range(size)])
        assert not any(outcomes), outcomes
    while True:
        ended = await database.fetchval("SELECT count(*) FROM jobs WHERE finished_at IS NOT NULL")
        if ended - before >= jobs:
            return jobs / (time.perf_counter() - began)
        await asyncio.sleep(0.02)


async def measure(amqp_url: str, postgres_url: str, jobs: int, rounds: int) -> None:
    """Start a runner, warm it up, and measure."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(PLUGIN),
        "LINESHAFT_AMQP_URL": amqp_url,
        "LINESHAFT_POSTGRES_URL": postgres_url,
        "LINESHAFT_HTTP_PORT": "0",
        "LINESHAFT_LOG_LEVEL": "warning",
    }
    runner = subprocess.Popen([sys.executable, "-m", "lineshaft_job_runner"], env=environment)  # noqa: ASYNC220
    try:
        async with messaging.connect(amqp_url, name="bench") as bus:
            await asyncio.sleep(4)
            database = await asyncpg.connect(postgres_url)
            await round_trip(bus, database, 200)
            for number in range(rounds):
                process = psutil.Process(runner.pid)
                cpu = sum(process.cpu_times()[:2])
                rate = await round_trip(bus, database, jobs)
                spent = (sum(process.cpu_times()[:2]) - cpu) / jobs
                line = {
                    "round": number,
                    "jobs": jobs,
                    "jobs_per_second": round(rate),
                    "runner_cpu_us_per_job": round(spent * 1e6),
                }
                print(json.dumps(line), flush=True)
            await database.close()
    finally:
        runner.terminate()
        runner.wait(20)


def main() -> None:
    """Run it on servers of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with throwaway.servers(ROOT / ".lineshaft" / "test") as servers:
        amqp, postgres = servers.endpoints.amqp, servers.endpoints.databases["job_runner"]
        assert amqp is not None
        asyncio.run(measure(amqp, postgres, options.jobs, options.rounds))


if __name__ == "__main__":
    main()
