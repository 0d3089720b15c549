"""One engine, measured once: drain of a backlog, end to end, and latency at a steady rate."""

import asyncio
import secrets
import statistics
import time
from dataclasses import dataclass

import asyncpg

from . import running
from .cpu import Cpu, Meter
from .engines import Installed
from .places import WORKPLACE
from .running import Client, Records, StuckError
from .servers import Servers, connect

STUCK_SECONDS = 120.0
POLL_SECONDS = 0.005
LATENCY_RATE = 100.0
LATENCY_JOBS = 300


@dataclass(frozen=True, kw_only=True)
class Spell:
    """So many jobs in so many seconds, with the processor time that they took."""

    jobs: int
    seconds: float
    cpu: Cpu

    def figures(self, name: str) -> dict[str, float]:
        """Return what is reported; processor time in microseconds per job."""
        found = {"jobs_per_second": round(self.jobs / self.seconds)}
        found |= self.cpu.figures(units=self.jobs, seconds=self.seconds)
        return {f"{name}_{key}": value for key, value in found.items()}


class Trial:
    """An engine with its client and its worker running."""

    def __init__(
        self,
        installed: Installed,
        client: Client,
        records: Records,
        database: "asyncpg.Connection",
    ) -> None:
        self._engine = installed.engine
        self._client = client
        self._records = records
        self._database = database
        self._submitted = 0

    async def backlog(self) -> None:
        """Submit while no worker runs."""
        await self._client.submit(self._engine.jobs)
        self._submitted += self._engine.jobs

    async def drain(self, meter: Meter) -> Spell:
        """Count from the first job that the worker began."""
        await self._records.reach(1, seconds=STUCK_SECONDS)
        cpu = meter.read()
        done = self._records.count()
        began = time.time()
        await self._all_stored()
        spent, now = meter.read() - cpu, time.time()
        return Spell(jobs=self._engine.jobs - done, seconds=now - began, cpu=spent)

    async def end_to_end(self, meter: Meter) -> Spell:
        """Count from before the first submission until the last end is stored."""
        cpu, began = meter.read(), time.time()
        self._submitted += self._engine.jobs
        await self._client.submit(self._engine.jobs)
        await self._all_stored()
        seconds = time.time() - began
        return Spell(jobs=self._engine.jobs, seconds=seconds, cpu=meter.read() - cpu)

    async def latency(self) -> dict[str, float]:
        """Return percentiles of the time from submission to start, in milliseconds."""
        first = self._submitted
        self._submitted += LATENCY_JOBS
        await self._client.submit(LATENCY_JOBS, per_second=LATENCY_RATE)
        await self._all_stored()
        waits = [began - submitted for submitted, began in self._records.after(first)]
        percentiles = statistics.quantiles(waits, n=100)
        return {
            "start_p50_ms": round(percentiles[49] * 1e3, 1),
            "start_p99_ms": round(percentiles[98] * 1e3, 1),
        }

    async def _all_stored(self) -> None:
        await self._records.reach(self._submitted, seconds=STUCK_SECONDS)
        if self._engine.ended is None:
            return
        deadline = time.monotonic() + STUCK_SECONDS
        while not await self._engine.ended(self._database, self._submitted):
            if time.monotonic() > deadline:
                raise StuckError("jobs have run, but their ends are not stored")
            await asyncio.sleep(POLL_SECONDS)


async def measure(installed: Installed, servers: Servers, *, latency: bool) -> dict[str, float]:
    """Measure an engine once, beginning with an empty database and an empty queue."""
    engine = installed.engine
    queue = f"bench-{secrets.token_hex(4)}"
    await servers.start_afresh()
    async with running.records() as records:
        environment = installed.environment(
            servers.amqp_url, servers.postgres_url, queue, records.path
        )
        command = installed.command(engine.client, queue)
        async with (
            running.client(command, environment) as client,
            connect(servers.postgres_url) as database,
        ):
            trial = Trial(installed, client, records, database)
            await trial.backlog()
            command = installed.command(engine.worker, queue)
            log = WORKPLACE / f"worker-{engine.package}.log"
            async with running.worker(command, environment, log) as pid:
                meter = Meter(worker=[pid], client=[client.pid], servers=servers.pids)
                drained = await trial.drain(meter)
                whole = await trial.end_to_end(meter)
                found = whole.figures("end_to_end") | drained.figures("drain")
                return found | (await trial.latency() if latency else {})
