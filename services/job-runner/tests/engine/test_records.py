"""What an attempt records outlives it, whatever happens to its process afterwards."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest
import structlog
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner import asking, storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.job import ClaimedJob, Outcome
from lineshaft_job_runner.job_type import (
    Isolation,
    JobContext,
    JobType,
    PermanentError,
    RetryableError,
)
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from pydantic import BaseModel

Body = Callable[[JobContext], Awaitable[None]]

PLUGIN = Path(__file__).parent.parent / "plugin"


class Anything(BaseModel):
    """No parameters, no result."""


class Do(JobType[Anything, Anything]):
    """Does what its test says."""

    name = "trial.do"
    title = "Do"
    parameters = Anything
    result = Anything
    example: ClassVar[Mapping[str, Any]] = {}
    isolation = Isolation.LOOP

    def __init__(self, body: Body) -> None:
        self._body = body

    async def run(self, context: JobContext, parameters: Anything) -> Anything:
        await self._body(context)
        return Anything()


async def outcome(store: MemoryStore, job: ClaimedJob, body: Body, folder: Path) -> Outcome:
    store.jobs.append(job)
    with structlog.testing.capture_logs():
        async with memory_runner(store, Catalogue([Do(body)]), folder):
            return await store.end_of(job)


async def test_the_next_attempt_reads_what_the_last_one_recorded(tmp_path: Path) -> None:
    store, job = MemoryStore(), claimed_job()
    read: list[dict[str, Any]] = []

    async def body(context: JobContext) -> None:
        read.append(await context.recorded())
        await context.record({"effect": {"attempt": context.attempt}})
        raise RetryableError("later", "once more")

    await outcome(store, job, body, tmp_path)
    await outcome(store, replace(job, attempt=2, lease_token=uuid4()), body, tmp_path)
    assert read == [{}, {"effect": {"attempt": 1}}]
    assert store.records[job.id] == {"effect": {"attempt": 2}}


async def test_more_entries_than_fit_into_a_page_are_read_together(tmp_path: Path) -> None:
    store, job = MemoryStore(), claimed_job()
    store.records[job.id] = {f"k{n:05}": {"n": n} for n in range(3 * storable.RECORDS_AT_ONCE)}
    read: dict[str, Any] = {}

    async def body(context: JobContext) -> None:
        read.update(await context.recorded())

    await outcome(store, job, body, tmp_path)
    assert read == store.records[job.id]


async def test_an_attempt_that_lost_its_lease_may_do_nothing_more(tmp_path: Path) -> None:
    store, job = MemoryStore(), claimed_job()
    done: list[str] = []

    async def body(context: JobContext) -> None:
        store.taken.add(job.lease_token)
        await context.record({"effect": {}})
        done.append("effect")

    store.jobs.append(job)
    with structlog.testing.capture_logs():
        async with memory_runner(store, Catalogue([Do(body)]), tmp_path):
            end = await store.end_of(job)
    assert done == []
    assert end.state is not JobState.SUCCEEDED
    assert store.records[job.id] == {}


async def test_an_engine_that_does_not_answer_for_long_fails_the_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE_SECONDS", 0.3)
    store, job = MemoryStore(), claimed_job()

    async def body(context: JobContext) -> None:
        store.cut_off = True
        try:
            await context.record({"effect": {}})
        finally:
            store.cut_off = False

    end = await outcome(store, job, body, tmp_path)
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == ("engine_unavailable", True)


UNFIT: list[dict[str, dict[str, Any]]] = [
    {"": {}},
    {"k" * 321: {}},
    {"a\x00": {}},
    {"a": {"v": "x" * 3_000}},
    {"a": {"v": float("nan")}},
    {f"k{n}": {} for n in range(storable.RECORDS_AT_ONCE + 1)},
]


@pytest.mark.parametrize(
    "entries",
    UNFIT,
    ids=["empty", "long", "nul", "large", "nan", "many"],
)
async def test_what_cannot_be_recorded_is_refused_at_once(
    tmp_path: Path, entries: dict[str, dict[str, Any]]
) -> None:
    async def body(context: JobContext) -> None:
        with pytest.raises(PermanentError):
            await context.record(entries)
        raise PermanentError("seen", "as expected")

    end = await outcome(MemoryStore(), claimed_job(), body, tmp_path)
    assert end.error is not None
    assert end.error.code == "seen"


async def test_an_artifact_of_an_earlier_job_is_copied_and_checked(tmp_path: Path) -> None:
    store, job = MemoryStore(), claimed_job()

    async def make(context: JobContext) -> None:
        async with context.artifact("a.txt", media_type="text/plain") as file:
            file.path.write_text("made\n")

    copies: list[str] = []

    async def use(context: JobContext) -> None:
        artifact = await context.fetch_artifact(job.id, "a.txt", tmp_path / "copy")
        copies.append(f"{artifact.bytes} {(tmp_path / 'copy').read_text()}")
        with pytest.raises(PermanentError, match="has not succeeded"):
            await context.fetch_artifact(UUID(int=1), "a.txt", tmp_path / "copy")

    await outcome(store, job, make, tmp_path)
    end = await outcome(store, claimed_job(), use, tmp_path)
    assert (end.state, copies) == (JobState.SUCCEEDED, ["5 made\n"])


async def test_a_record_is_there_when_the_child_is_killed_right_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))
    job = claimed_job("trial.work", parameters={"act": "record"}, timeout_seconds=30)
    store = MemoryStore(jobs=[job])
    children = ChildProcesses(
        places=1,
        idle_seconds=60,
        grace_seconds=0.3,
        object_store_url=tmp_path.as_uri(),
        engine=store,
    )
    executors = {Isolation.PROCESS: children}
    with structlog.testing.capture_logs():
        async with (
            children,
            memory_runner(
                store, Catalogue.installed(), tmp_path, lease_seconds=2, executors=executors
            ),
            asyncio.timeout(30),
        ):
            end = await store.end_of(job)
    assert end.error is not None
    assert end.error.code == "process_died"
    assert store.records[job.id] == {"effect 1": {"state": "about to"}}


async def test_what_is_recorded_while_a_commit_is_under_way_shares_the_next_one(
    tmp_path: Path,
) -> None:
    commits: list[int] = []

    class Slow(MemoryStore):
        async def record(self, job: ClaimedJob, entries: Mapping[str, dict[str, Any]]) -> bool:
            commits.append(len(entries))
            await asyncio.sleep(0.02)
            return await super().record(job, entries)

    store, job = Slow(), claimed_job()

    async def body(context: JobContext) -> None:
        async def record(number: int) -> None:
            await context.record({f"k{number}": {"n": number}})
            assert f"k{number}" in store.records[job.id]

        await asyncio.gather(*(record(number) for number in range(1_000)))

    end = await outcome(store, job, body, tmp_path)
    assert end.state is JobState.SUCCEEDED, end.error
    assert len(store.records[job.id]) == sum(commits) == 1_000
    assert max(commits) <= storable.RECORDS_AT_ONCE
    assert len(commits) <= 4


async def test_when_a_shared_commit_fails_nobody_takes_it_for_done(tmp_path: Path) -> None:
    store, job = MemoryStore(), claimed_job()
    found: list[object] = []

    async def body(context: JobContext) -> None:
        store.taken.add(job.lease_token)
        records = (context.record({f"k{number}": {}}) for number in range(5))
        found.extend(await asyncio.gather(*records, return_exceptions=True))
        raise PermanentError("seen", "as expected")

    store.jobs.append(job)
    with structlog.testing.capture_logs():
        async with memory_runner(store, Catalogue([Do(body)]), tmp_path, lease_seconds=30):
            await store.end_of(job)
    assert [type(error) for error in found] == [RetryableError] * 5
