"""Jobs in child processes: what they say arrives, and what must end really ends."""

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.job import ClaimedJob, Outcome, Verdict
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.runner import Runner

PLUGIN = Path(__file__).parent.parent / "plugin"
DEADLINE_SECONDS = 30.0

Lines = list[Any]


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Install the trial types, here and in children."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN))


@asynccontextmanager
async def running(store: MemoryStore, folder: Path, *, places: int = 1) -> AsyncGenerator[Runner]:
    """Run in children what the store hands out."""
    children = ChildProcesses(
        places=places,
        idle_seconds=60,
        grace_seconds=0.3,
        object_store_url=folder.as_uri(),
        engine=store,
    )
    async with (
        children,
        memory_runner(
            store,
            Catalogue.installed(),
            folder,
            lease_seconds=2,
            executors={Isolation.PROCESS: children},
        ) as runner,
    ):
        yield runner


def job_that(act: str, **changes: Any) -> ClaimedJob:
    return claimed_job("trial.work", parameters={"act": act}, **{"timeout_seconds": 30, **changes})


async def outcome(job: ClaimedJob, folder: Path) -> tuple[Outcome, Lines]:
    """Run one attempt to its end."""
    store = MemoryStore(jobs=[job])
    with structlog.testing.capture_logs() as lines:
        async with running(store, folder):
            end = await store.end_of(job)
    return end, lines


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


async def test_a_child_keeps_its_checkpoint_and_the_next_attempt_is_given_it(
    tmp_path: Path,
) -> None:
    end, _ = await outcome(job_that("keep"), tmp_path)
    assert (end.state, end.checkpoint) == (JobState.RETRYING, {"done": 29})
    again = job_that("succeed", attempt=2, checkpoint=end.checkpoint)
    end, _ = await outcome(again, tmp_path)
    assert end.result == {"attempt": 2, "restored": {"done": 29}}


async def test_a_checkpoint_is_passed_on_before_the_child_is_killed(tmp_path: Path) -> None:
    job = job_that("keep")
    store = MemoryStore(jobs=[job])
    async with running(store, tmp_path):
        await until(lambda: job.lease_token in store.checkpoints)
    assert store.checkpoints[job.lease_token]["done"] >= 19


async def test_a_child_snoozes(tmp_path: Path) -> None:
    end, _ = await outcome(job_that("snooze"), tmp_path)
    assert (end.verdict, end.retry_in) == (Verdict.SNOOZED, timedelta(seconds=60))
    assert end.progress.message == "the supplier's file is not there yet"
    assert end.checkpoint == {"asked": True}


@pytest.mark.parametrize(
    ("act", "verdict"),
    [("submit", Verdict.SUCCEEDED), ("wait_for_children", Verdict.WAITING)],
)
async def test_jobs_that_a_child_submits_come_with_its_end(
    tmp_path: Path, act: str, verdict: Verdict
) -> None:
    job = job_that(act, tenant="rival")
    end, _ = await outcome(job, tmp_path)
    assert end.verdict is verdict
    assert [(c.type, c.order_key) for c in end.children] == [("trial.wait", "one by one")] * 3
    assert {(c.tenant, c.parent_id) for c in end.children} == {("rival", job.id)}


async def test_a_child_sees_how_the_jobs_that_it_submitted_ended(tmp_path: Path) -> None:
    end, _ = await outcome(job_that("succeed", children={"succeeded": 3}), tmp_path)
    assert end.result == {"attempt": 1, "children": {"succeeded": 3}}


async def test_what_a_child_logs_and_prints_is_in_the_log_of_the_runner(tmp_path: Path) -> None:
    job = job_that("talk")
    _, lines = await outcome(job, tmp_path)
    (logged,) = [line for line in lines if line["event"] == "job_log"]
    assert (logged["message"], logged["data"]) == ("half done", {"done": 1, "of": 2})
    printed = {line["line"]: line["job_id"] for line in lines if line["event"] == "job_output"}
    assert printed == {"printed": str(job.id), "an error of a library": str(job.id)}


async def test_a_child_that_exits_ends_its_attempt_and_serves_on(tmp_path: Path) -> None:
    bad, good = job_that("exit"), job_that("succeed")
    store = MemoryStore(jobs=[bad, good])
    async with running(store, tmp_path):
        end = await store.end_of(bad)
        await store.end_of(good)
    assert end.error is not None
    assert (end.error.code, end.error.message) == ("unexpected_error", "SystemExit: 3")


@pytest.mark.parametrize("act", ["eat", "grow"])
async def test_a_child_that_takes_too_much_memory_slowly_or_at_once_is_ended(
    tmp_path: Path, act: str
) -> None:
    end, _ = await outcome(job_that(act), tmp_path)
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.FAILED, "memory_limit")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"timeout_seconds": 8}, "timeout"),
        ({"deadline": 8}, "deadline_exceeded"),
        ({}, "cancelled"),
    ],
)
async def test_a_child_is_killed_with_all_that_it_started(
    tmp_path: Path, changes: Mapping[str, Any], code: str
) -> None:
    changes = dict(changes)
    if "deadline" in changes:
        seconds = changes.pop("deadline")
        changes["deadline_at"] = datetime.now(UTC) + timedelta(seconds=seconds)
    job = job_that("start_others", **changes)
    store = MemoryStore(jobs=[job])
    with structlog.testing.capture_logs():
        async with running(store, tmp_path) as runner:
            await until(lambda: job.lease_token in store.checkpoints)
            pids: list[int] = store.checkpoints[job.lease_token]["pids"]
            assert [os.getsid(pid) == pid for pid in pids] == [False, True]
            if code == "cancelled":
                store.cancelled.add(job.lease_token)
                runner.look_for_cancellations()
            end = await store.end_of(job)
            await until(lambda: not any(is_alive(pid) for pid in pids))
    if code == "cancelled":
        assert end.verdict is Verdict.CANCELLED
    else:
        assert end.error is not None
        assert end.error.code == code
