"""Users and workers that do everything at once leave the tables consistent and lose no job."""

import asyncio
import random
from uuid import UUID

import asyncpg
import pytest
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict

from .consistency import INCONSISTENT
from .driver import NEVER, Jobs, new_job

pytestmark = pytest.mark.integration

CLIENTS = 4
ROUNDS = 40


class Crowd:
    """Clients that each choose by chance what to do next, with the same jobs."""

    def __init__(self, jobs: Jobs, seed: int) -> None:
        self.jobs = jobs
        self.chance = random.Random(seed)
        self.known: list[UUID] = []
        self.deadlocks = 0

    async def client(self, name: str) -> None:
        worker = self.jobs.worker(name)
        for _ in range(ROUNDS):
            act = self.chance.choice([self.submit, self.submit, self.cancel, None, None])
            try:
                if act is not None:
                    await act()
                    continue
                claimed = await worker.claim(["trial.wait"], limit=3, lease_seconds=60)
                await worker.finish([self.outcome(job) for job in claimed])
            except asyncpg.DeadlockDetectedError:  # Whoever called would do it again.
                self.deadlocks += 1

    async def submit(self) -> None:
        batch = [
            new_job(
                order_key=self.chance.choice([None, "x", "y"]),
                unique_key=self.chance.choice([None, "u"]),
                after=tuple(self.chance.sample(self.known[-8:], min(2, len(self.known)))),
            )
            for _ in range(3)
        ]
        await self.jobs.store.accept(batch)
        found = await self.jobs.reads.views([job.id for job in batch], tenant="acme")
        self.known += found

    async def cancel(self) -> None:
        if self.known:
            await self.jobs.cancel(self.chance.choice(self.known[-8:]))

    def outcome(self, job: ClaimedJob) -> Outcome:
        match self.chance.randrange(4):
            case 0:
                return Outcome(job=job, verdict=Verdict.FAILED, error=NEVER)
            case 1 if job.children is None:
                children = tuple(new_job(parent_id=job.id) for _ in range(2))
                self.known += [child.id for child in children]
                return Outcome(job=job, verdict=Verdict.WAITING, children=children)
            case _:
                return Outcome(job=job, verdict=Verdict.SUCCEEDED, result={})

    async def drain(self) -> None:
        """Do what is left to do."""
        await self.jobs.pool.execute("UPDATE jobs SET lease_until = now() - interval '1 second'")
        await self.jobs.store.rescue()
        while claimed := await self.jobs.claim():
            await self.jobs.succeed(*claimed)


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_everything_at_once_leaves_the_tables_consistent(jobs: Jobs, seed: int) -> None:
    crowd = Crowd(jobs, seed)
    await asyncio.gather(*(crowd.client(f"w{n}") for n in range(CLIENTS)))
    for what, query in INCONSISTENT.items():
        assert await jobs.pool.fetch(query) == [], what
    await crowd.drain()
    assert await jobs.pool.fetchval("SELECT count(*) FROM jobs") == 0
    views = await jobs.reads.views(crowd.known, tenant="acme")
    assert {view.state for view in views.values()} <= {
        JobState.SUCCEEDED,
        JobState.FAILED,
        JobState.CANCELLED,
    }
    assert crowd.deadlocks < CLIENTS * ROUNDS / 10
