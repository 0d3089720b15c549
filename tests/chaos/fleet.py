"""Job-runners of a test, the client that hands them jobs, and the ledger of what they did.

The ledger is a file outside the system: each job appends a line for each effect it has. What the
engine says and what the ledger says have to agree, whatever was killed meanwhile.
"""

import asyncio
import os
import signal
import sys
from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import UUID

from lineshaft_common import messaging
from lineshaft_common.messaging import RabbitBus
from lineshaft_contracts.envelope import envelop, uuid7
from lineshaft_contracts.jobs import GetJob, JobState, JobView, SubmitJob
from lineshaft_contracts.problems import ProblemError

ROUNDS = int(os.environ.get("LINESHAFT_CHAOS_ROUNDS", "1"))
"""How often each scenario is played; a run of the whole suite plays it once."""
PLUGIN = Path(__file__).parents[2] / "services" / "job-runner" / "tests" / "plugin"
DEADLINE_SECONDS = 120.0
LEASE_SECONDS = 2.0
SOURCE = "/services/test"
AWAY = (messaging.NoReplyError, messaging.PublishError)


TALLIES: defaultdict[str, Counter[str]] = defaultdict(Counter)
"""What was counted in all rounds of each scenario; the run tells it at its end."""


class Worker:
    """A job-runner process of this test."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment = environment
        self.log = log
        self.process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self.log.open("ab") as log:
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
        self.signal(how)
        await self.process.wait()

    async def killed_and_started(self) -> None:
        await self.end(signal.SIGKILL)
        await self.start()

    def signal(self, how: signal.Signals) -> None:
        assert self.process is not None
        if self.process.returncode is None:
            self.process.send_signal(how)

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def tells(self, event: str) -> None:
        """Wait until its log has an event."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while event not in self.log.read_text():
                await asyncio.sleep(0.1)


class Fleet:
    """Workers on one broker and one database, and a client of theirs."""

    def __init__(self, bus: RabbitBus, amqp_url: str, postgres_url: str, folder: Path) -> None:
        self.bus = bus
        self.ledger = folder / "ledger"
        self.ledger.touch()
        self._amqp_url = amqp_url
        self._postgres_url = postgres_url
        self._folder = folder

    @classmethod
    @asynccontextmanager
    async def on(cls, amqp_url: str, postgres_url: str, folder: Path) -> AsyncGenerator["Fleet"]:
        async with messaging.connect(amqp_url, name="test") as bus:
            yield cls(bus, amqp_url, postgres_url, folder)

    @asynccontextmanager
    async def worker(self, name: str, **environment: str) -> AsyncGenerator[Worker]:
        """Run a job-runner while the block is open."""
        settings = {
            "LINESHAFT_AMQP_URL": self._amqp_url,
            "LINESHAFT_POSTGRES_URL": self._postgres_url,
            "LINESHAFT_HTTP_PORT": "0",
            "LINESHAFT_INSTANCE": name,
            "LINESHAFT_OBJECT_STORE_URL": (self._folder / "objects").as_uri(),
            "LINESHAFT_LEASE_SECONDS": str(LEASE_SECONDS),
            "LINESHAFT_PROCESSES_MAX": "2",
            "LINESHAFT_CHILD_IDLE_SECONDS": "5",
            "PYTHONPATH": str(PLUGIN),
        }
        made = Worker(os.environ | settings | environment, self._folder / f"{name}.log")
        await made.start()
        try:
            yield made
        finally:
            made.signal(signal.SIGCONT)
            await made.end(signal.SIGKILL)

    def job(self, job_type: str = "trial.wait", **more: Any) -> SubmitJob:
        """Write a job that has an effect; `parameters` are added to those of the effect."""
        parameters = {"ledger": str(self.ledger)} | more.pop("parameters", {})
        job_id = more.pop("job_id", None) or uuid7()
        return SubmitJob(job_id=job_id, job_type=job_type, parameters=parameters, **more)

    async def submit(self, *jobs: SubmitJob) -> list[JobView]:
        """Submit until the runner has said that it has each, as a client that retries."""
        return [(await self.insist(job)).job for job in jobs]

    async def publish(self, jobs: Sequence[SubmitJob]) -> None:
        """Submit without waiting for a runner, until the broker has confirmed each."""
        left = [envelop(job, source=SOURCE, tenant="acme") for job in jobs]
        async with asyncio.timeout(DEADLINE_SECONDS):
            while left:
                outcomes = await self.bus.publish_many(left)
                left = [one for one, error in zip(left, outcomes, strict=True) if error]

    async def insist(self, question: Any) -> Any:
        """Ask until a runner answers."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                with suppress(*AWAY):
                    return await self.bus.ask(
                        question, tenant="acme", source=SOURCE, deadline_seconds=2
                    )

    async def look(self, job_id: UUID) -> JobView:
        """Ask for a job until a runner knows it: its command may still be at the broker."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                try:
                    return (await self.insist(GetJob(job_id=job_id))).job
                except ProblemError as error:
                    if error.problem.code != "job_not_found":
                        raise
                    await asyncio.sleep(0.1)

    async def becomes(self, job_id: UUID, *states: JobState) -> JobView:
        """Wait until a job is in one of the states."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (view := await self.look(job_id)).state not in states:
                await asyncio.sleep(0.05)
        return view

    async def ends(self, job_ids: Sequence[UUID]) -> list[JobView]:
        """Wait until all have ended."""
        final = [state for state in JobState if state.is_final]
        return [await self.becomes(job_id, *final) for job_id in job_ids]

    async def through(
        self, jobs: Sequence[SubmitJob], evil: Callable[[], Awaitable[None]]
    ) -> list[JobView]:
        """Submit jobs while something evil is done; returns them when all have ended."""
        submitting = asyncio.create_task(self.submit(*jobs))
        await evil()
        await submitting
        return await self.ends([job.job_id for job in jobs])

    def effects(self) -> list[tuple[str, int]]:
        """Return (job, attempt) of each effect, in the order in which they happened."""
        lines = [line.split() for line in self.ledger.read_text().splitlines()]
        return [(job_id, int(attempt)) for job_id, attempt, _ in lines]

    def agrees(self, jobs: Sequence[JobView], *, losses_max: int) -> None:
        """Assert that nothing is lost and nothing was done or finished twice.

        A lost attempt may have had its effect before it was lost: then, and only then, the job has
        the effect of a later attempt too.
        """
        effects = Counter(self.effects())
        tally = TALLIES[os.environ["PYTEST_CURRENT_TEST"].split("::")[-1].split("[")[0]]
        lost = sum(a.outcome == "lost" for job in jobs for a in job.attempts)
        tally.update(rounds=1, jobs=len(jobs), attempts_lost=lost)
        assert max(effects.values(), default=1) == 1, "an attempt ran twice"
        repeated = Counter(job_id for job_id, _ in effects)
        for job in jobs:
            outcomes = Counter(attempt.outcome for attempt in job.attempts)
            assert job.state is JobState.SUCCEEDED, f"lost: {job}"
            assert outcomes["succeeded"] == 1, "finished twice"
            assert outcomes["lost"] <= losses_max
            assert 1 <= repeated[str(job.id)] <= 1 + outcomes["lost"]
