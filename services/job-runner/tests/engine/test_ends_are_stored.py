"""Whatever a job gives and however the store fails, every end is stored and no place is lost."""

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import asyncpg
import pytest
import structlog
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import Verdict
from lineshaft_job_runner.job_type import (
    Isolation,
    JobContext,
    JobStoppedError,
    JobType,
    PermanentError,
)
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.runner import Runner
from pydantic import BaseModel

Body = Callable[[JobContext], Any]


class Parameters(BaseModel):
    """Nothing."""


class Result(BaseModel):
    """Anything."""

    value: Any = None
    number: float = 0.0


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Keep tracebacks of the provoked failures out of the output."""
    with structlog.testing.capture_logs():
        yield


def type_of(body: Body) -> JobType[Parameters, Result]:
    """Make a job type of what it does."""

    class Doing(JobType[Parameters, Result]):
        name = "trial.do"
        title = "Do"
        parameters = Parameters
        result = Result
        example: ClassVar[Mapping[str, Any]] = {}
        isolation = Isolation.LOOP
        timeout_seconds = 10
        attempts_max = 3

        async def run(self, context: JobContext, parameters: Parameters) -> Result:
            made = body(context)
            value = await made if asyncio.iscoroutine(made) else made
            if isinstance(value, float):
                return Result(number=value)
            return Result(value=value)

    return Doing()


claimed = claimed_job


class Store(MemoryStore):
    """Refuses like the database."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields, refusal=asyncpg.DataError("invalid input"))


def running(
    store: MemoryStore, body: Body, folder: Path, **options: Any
) -> AbstractAsyncContextManager[Runner]:
    """Run what the store hands out."""
    return memory_runner(store, Catalogue([type_of(body)]), folder, **options)


async def test_an_end_is_stored_after_the_store_failed_once_and_no_other_job_ends(
    tmp_path: Path,
) -> None:
    job = claimed()
    store = Store(jobs=[job], failures=[ConnectionError()])
    async with running(store, lambda _: 1, tmp_path):
        assert (await store.end_of(job)).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    "value",
    ["a\x00b", "\ud800", float("nan"), float("inf"), {"\x00": 1}, ["\\\x00"]],
    ids=["nul", "surrogate", "nan", "infinity", "nul in a key", "nul after a backslash"],
)
async def test_a_result_that_no_database_takes_fails_for_good(tmp_path: Path, value: Any) -> None:
    job = claimed()
    store = Store(jobs=[job])
    async with running(store, lambda _: value, tmp_path):
        end = await store.end_of(job)
    assert end.state is JobState.FAILED
    assert end.error is not None
    assert (end.error.code, end.error.retryable) == ("result_not_storable", False)


async def test_text_that_only_looks_like_an_escaped_nul_is_a_result(tmp_path: Path) -> None:
    job = claimed()
    store = Store(jobs=[job])
    async with running(store, lambda _: "\\u0000", tmp_path):
        assert (await store.end_of(job)).result == {"value": "\\u0000", "number": 0}


async def test_progress_is_brought_into_range_before_it_is_stored(tmp_path: Path) -> None:
    async def body(context: JobContext) -> None:
        context.progress(-5, 2**70, "half\x00way\ud800")
        await asyncio.sleep(0.7)

    job = claimed()
    store = Store(jobs=[job])
    async with running(store, body, tmp_path):
        end = await store.end_of(job)
    for told in (end.progress, store.told[job.lease_token].progress):
        assert (told.done, told.total, told.message) == (0, 2**63 - 1, "halfway")


async def test_an_error_message_is_cleaned_before_it_is_stored(tmp_path: Path) -> None:
    def body(_: JobContext) -> None:
        raise PermanentError("no\x00pe", "bad\x00 \udfff" + "x" * 5_000)

    job = claimed()
    store = Store(jobs=[job])
    async with running(store, body, tmp_path):
        error = (await store.end_of(job)).error
    assert error is not None
    assert error.code == "nope"
    assert error.message.startswith("bad x")
    assert len(error.message) == 2_000


async def test_an_end_that_the_database_refuses_holds_up_no_other(tmp_path: Path) -> None:
    bad, good = claimed(), claimed()

    def refuses(given: Any) -> bool:
        return given.job == bad and given.verdict is Verdict.SUCCEEDED

    store = Store(jobs=[bad, good], refuses=refuses)
    async with running(store, lambda _: 1, tmp_path):
        assert (await store.end_of(good)).state is JobState.SUCCEEDED
        end = await store.end_of(bad)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.FAILED, "result_not_storable")


async def test_progress_that_the_database_refuses_costs_nobody_a_lease(tmp_path: Path) -> None:
    bad, good = claimed(), claimed()

    def refuses(given: Any) -> bool:
        return given.job == bad and given.progress.done == 7

    async def body(context: JobContext) -> None:
        context.progress(7, 10)
        await asyncio.sleep(0.7)

    store = Store(jobs=[bad, good], refuses=refuses)
    async with running(store, body, tmp_path):
        await store.end_of(good)
    assert store.told[good.lease_token].progress.done == 7
    assert store.told[bad.lease_token].progress.done == 0


async def test_an_error_inside_the_runner_ends_the_attempt_and_frees_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("lineshaft_job_runner.storable.check", broken)
    first, second = claimed(), claimed()
    store = Store(jobs=[first, second])
    async with running(store, lambda _: 1, tmp_path, places=1):
        ends = [await store.end_of(first), await store.end_of(second)]
    assert [e.error and e.error.code for e in ends] == ["runner_error", "runner_error"]


@pytest.mark.parametrize("raised", [asyncio.CancelledError, JobStoppedError])
async def test_a_job_that_stops_unasked_has_failed(
    tmp_path: Path, raised: type[BaseException]
) -> None:
    def body(_: JobContext) -> None:
        raise raised

    job = claimed()
    store = Store(jobs=[job])
    async with running(store, body, tmp_path):
        end = await store.end_of(job)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.RETRYING, "unexpected_error")


async def test_a_cancelled_job_that_fails_while_it_stops_is_cancelled(tmp_path: Path) -> None:
    async def body(context: JobContext) -> None:
        while not context.cancelled:
            await asyncio.sleep(0.01)
        raise ConnectionError

    job = claimed()
    store = Store(jobs=[job], cancelled={job.lease_token})
    async with running(store, body, tmp_path):
        assert (await store.end_of(job)).state is JobState.CANCELLED


async def test_a_worker_that_claims_its_own_lost_job_again_stops_the_first_run(
    tmp_path: Path,
) -> None:
    async def body(context: JobContext) -> int:
        while context.attempt == 1 and not context.cancelled:
            await asyncio.sleep(0.01)
        if context.attempt == 1:
            raise JobStoppedError
        await asyncio.sleep(0.2)
        return context.attempt

    first = claimed()
    second = replace(first, attempt=2, lease_token=uuid4())
    store = Store(jobs=[first], taken={first.lease_token})
    async with running(store, body, tmp_path, lease_seconds=30) as runner:
        async with asyncio.timeout(5):
            while store.jobs:
                await asyncio.sleep(0.01)
        store.jobs.append(second)
        runner.wake()
        assert (await store.end_of(second)).result == {"value": 2, "number": 0}
        assert (await store.end_of(first)).verdict is Verdict.RELEASED


async def test_nothing_is_rescued_by_a_worker_that_cannot_keep_its_own_leases(
    tmp_path: Path,
) -> None:
    async def body(_: JobContext) -> None:
        await asyncio.sleep(60)

    store = Store(jobs=[claimed()], cut_off=True)
    async with running(store, body, tmp_path, lease_seconds=1), asyncio.timeout(30):
        while store.calls.count("heartbeat") < 4:
            await asyncio.sleep(0.01)
        store.calls.clear()
        while store.calls.count("heartbeat") < 2:
            await asyncio.sleep(0.01)
        assert "rescue" not in store.calls
        store.cut_off = False
        while "rescue" not in store.calls:
            await asyncio.sleep(0.01)
