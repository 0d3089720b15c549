"""What an attempt may do on its way: artifacts, progress; and questions meanwhile."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from lineshaft_common.objects import Objects
from lineshaft_contracts.envelope import Priority, envelop, uuid7
from lineshaft_contracts.job_statistics import GetJobStats, JobStats
from lineshaft_contracts.jobs import Progress
from lineshaft_job_runner.answering import Answering
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.child.throttle import PER_SECOND, Throttle
from lineshaft_job_runner.context import AttemptContext
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import Isolation, PermanentError
from lineshaft_job_runner.memory_store import MemoryStore, no_data
from lineshaft_job_runner.running import Running

JOB = ClaimedJob(
    id=uuid7(),
    tenant="acme",
    type="trial.do",
    priority=Priority.NORMAL,
    parameters={},
    attempt=1,
    attempts_max=3,
    timeout_seconds=10,
    lease_token=uuid4(),
    traceparent=None,
    waited_seconds=0,
)


@pytest.mark.parametrize("name", ["", "../x", "a b", "x\n", "ä.csv", "x" * 129])
async def test_an_artifact_with_a_bad_name_is_refused_before_it_is_written(
    tmp_path: Path, name: str
) -> None:
    context = AttemptContext(
        replace(JOB, lease_token=uuid4()),
        objects=Objects(tmp_path.as_uri()),
        data=no_data(),
        types=Catalogue([]),
        listener=Running(job=JOB, isolation=Isolation.LOOP),
        engine=MemoryStore(),
    )
    with pytest.raises(PermanentError, match="artifact name"):
        async with context.artifact(name, media_type="text/plain"):
            pytest.fail("nothing may be written")
    assert context.stored == []


async def test_progress_of_a_child_is_told_seldom_and_its_last_word_always() -> None:
    told: list[int] = []
    throttle = Throttle[Progress](lambda progress: told.append(progress.done))
    began = time.monotonic()
    for done in range(10_000):
        throttle(Progress(done=done, total=10_000))
    assert told[0] == 0
    assert len(told) <= 1 + (time.monotonic() - began) * PER_SECOND
    throttle.flush()
    assert told[-1] == 9_999
    before = list(told)
    await asyncio.sleep(0)
    assert told == before


async def test_progress_of_a_child_that_never_waits_is_told_too() -> None:
    told: list[int] = []
    throttle = Throttle[Progress](lambda progress: told.append(progress.done))
    done, deadline = 0, time.monotonic() + 10
    while len(told) < 3 and time.monotonic() < deadline:
        throttle(Progress(done=done))
        done += 1
    throttle.flush()
    assert len(told) >= 3


async def test_progress_that_waited_is_told_without_another_word() -> None:
    told: list[int] = []
    throttle = Throttle[Progress](lambda progress: told.append(progress.done))
    throttle(Progress(done=1))
    throttle(Progress(done=2))
    async with asyncio.timeout(30):
        while told != [1, 2]:
            await asyncio.sleep(0.01)
    throttle.flush()


class CountingReads:
    """Statistics that say how often they were computed for whom."""

    def __init__(self) -> None:
        self.looks: list[str] = []

    async def stats(self, *, tenant: str) -> JobStats:
        self.looks.append(tenant)
        await asyncio.sleep(0)
        if len(self.looks) == 1:
            raise ConnectionError
        return JobStats(
            counts={tenant: len(self.looks)}, by_type={}, oldest_queued_seconds=None, windows={}
        )


async def test_statistics_asked_for_at_once_are_computed_once_for_each_tenant() -> None:
    reads: Any = CountingReads()
    desk = Answering(reads)

    async def ask(tenant: str) -> JobStats:
        return await desk.get_stats(envelop(GetJobStats(), source="/services/test", tenant=tenant))

    with pytest.raises(ConnectionError):
        await ask("acme")
    answers = await asyncio.gather(*(ask(t) for t in ("acme", "acme", "rival", "acme")))
    assert reads.looks == ["acme", "acme", "rival"]
    assert [list(a.counts) for a in answers] == [["acme"], ["acme"], ["rival"], ["acme"]]
