"""HTTP submissions per second through one gateway process, each answered when the job is stored.

A job-runner takes the jobs, runs them and stores their ends meanwhile, all on the same machine;
`wrk` asks from a process of its own with 64 connections. An answer of 201 means that the job is
stored, 202 that the broker has it and the job-runner did not answer within a second.
"""

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from lineshaft_cli.local import ports

from . import ours, report, running, servers
from .cpu import Meter
from .places import HERE, WORKPLACE
from .running import StuckError
from .servers import Servers

CONNECTIONS = 64
READY_SECONDS = 60.0
POLL_SECONDS = 0.1
JOB = {"type": ours.JOB_TYPE, "parameters": {"submitted_at": 0}}
COLUMNS = {
    "submissions_per_second": "submissions/s",
    "p50_ms": "p50, ms",
    "p99_ms": "p99, ms",
    "gateway_cpu_us": "gateway CPU, us each",
    "job_runner_cpu_us": "job-runner CPU",
    "servers_cpu_us": "servers' CPU",
    "later": "answered 202",
    "refused": "refused",
}


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """A gateway that runs."""

    url: str
    key: str
    pid: int

    async def ready(self) -> None:
        """Wait until a submission is answered with a stored job."""
        deadline = asyncio.get_running_loop().time() + READY_SECONDS
        headers = {"Authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession(headers=headers) as session:
            while asyncio.get_running_loop().time() < deadline:
                try:
                    async with session.post(f"{self.url}/api/jobs", json=JOB) as answer:
                        if answer.status == 201:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(POLL_SECONDS)
        raise StuckError("the gateway stores no job")


@asynccontextmanager
async def gateway(private: Servers) -> AsyncGenerator[Gateway]:
    """Run a gateway whose limits per key are out of the way."""
    port = ports.choose()
    key = WORKPLACE / f"admin-{os.getpid()}.key"
    environment = {
        **os.environ,
        "LINESHAFT_AMQP_URL": private.amqp_url,
        "LINESHAFT_POSTGRES_URL": private.gateway_url,
        "LINESHAFT_HTTP_PORT": str(port),
        "LINESHAFT_LOG_LEVEL": "warning",
        "LINESHAFT_ADMIN_KEY_FILE": str(key),
        "LINESHAFT_REQUESTS_PER_SECOND": "1000000",
        "LINESHAFT_REQUESTS_BURST": "1000000",
    }
    command = [sys.executable, "-m", "lineshaft_gateway"]
    log = WORKPLACE / "gateway.log"
    try:
        async with running.worker(command, environment, log) as pid:
            url = f"http://{ports.LOOPBACK}:{port}"
            yield Gateway(url=url, key=await _written(key), pid=pid)
    finally:
        key.unlink(missing_ok=True)


async def _written(key: Path) -> str:
    """Wait for the key that the gateway writes when it starts."""
    async with asyncio.timeout(READY_SECONDS):
        while not (text := await asyncio.to_thread(_text_of, key)):
            await asyncio.sleep(POLL_SECONDS)
    return text


def _text_of(file: Path) -> str:
    return file.read_text(encoding="utf-8").strip() if file.exists() else ""


async def ask(one: Gateway, *, seconds: float) -> dict[str, float]:
    """Let wrk submit for so long; what its script says."""
    environment = {**os.environ, "BENCH_KEY": one.key, "BENCH_BODY": json.dumps(JOB)}
    process = await asyncio.create_subprocess_exec(
        "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s", "-s", str(HERE / "submit.lua"),
        f"{one.url}/api/jobs", env=environment, stdout=subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    return json.loads(output.decode().splitlines()[-1])


async def measure(private: Servers, *, rounds: int, seconds: float) -> list[dict[str, float]]:
    """Measure some rounds on the same processes, after a short one that is not counted."""
    found: list[dict[str, float]] = []
    await private.start_afresh()
    async with (
        running.records() as records,
        ours.job_runner(private, records) as runner,
        gateway(private) as one,
    ):
        await one.ready()
        await ask(one, seconds=2)
        meter = Meter(gateway=[one.pid], job_runner=[runner], servers=private.pids)
        for number in range(rounds):
            before = meter.read()
            said = await ask(one, seconds=seconds)
            stored = int(said["created"])
            figures = {"submissions_per_second": round(stored / said["seconds"])} | said
            figures |= (meter.read() - before).figures(units=max(1, stored), seconds=seconds)
            report.write("submissions", {"round": number, "connections": CONNECTIONS} | figures)
            found.append(figures)
    return found


def main() -> None:
    """Run it on servers of its own."""
    parser = argparse.ArgumentParser(prog="bench submissions", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one round")
    options = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk is needed: apt-get install wrk")
    with servers.private() as private:
        found = asyncio.run(measure(private, rounds=options.rounds, seconds=options.seconds))
    medians = [report.number(statistics.median(one[key] for one in found)) for key in COLUMNS]
    report.show([list(COLUMNS.values()), medians])


if __name__ == "__main__":
    main()
