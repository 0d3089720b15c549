"""A backup whose process is killed in the middle: no manifest, and the next attempt is whole."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
import structlog
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.job import ClaimedJob, Outcome
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner

from .backup_plant import Plant, databases, execute

pytestmark = pytest.mark.integration

LARGE = """
CREATE TABLE large AS
SELECT n, repeat(md5(n::text), 20) AS text FROM generate_series(1, 100000) AS n
"""


def child() -> psutil.Process:
    (found,) = (
        process
        for process in psutil.Process().children()
        if "lineshaft_job_runner.child" in process.cmdline()
    )
    return found


def restoring() -> bool:
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.name() == "pg_restore":
                return True
    return False


def exists(folder: Path) -> bool:
    return any(path.stat().st_size > 0 for path in folder.rglob("content-*.zst"))


async def kill_when(seen: Callable[[], bool]) -> None:
    """Kill the job's process at a moment of its work."""
    async with asyncio.timeout(60):
        while not seen():
            await asyncio.sleep(0.005)
    os.kill(child().pid, signal.SIGKILL)


async def outcome(
    store: MemoryStore, job: ClaimedJob, folder: Path, seen: Callable[[], bool] | None = None
) -> Outcome:
    store.jobs.append(job)
    children = ChildProcesses(
        places=1,
        idle_seconds=60,
        grace_seconds=0.3,
        object_store_url=folder.as_uri(),
        engine=store,
    )
    executors = {Isolation.PROCESS: children}
    with structlog.testing.capture_logs():
        async with (
            children,
            memory_runner(
                store, Catalogue.installed(), folder, lease_seconds=5, executors=executors
            ),
            asyncio.timeout(90),
        ):
            if seen is not None:
                await kill_when(seen)
            return await store.end_of(job)


async def test_a_backup_that_is_killed_in_the_middle_is_none_and_the_retry_works(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await execute(postgres_url, LARGE)
    plant = Plant(tmp_path, monkeypatch)
    plant.postgresql(postgres_url)
    before = await databases(postgres_url)
    store = MemoryStore()
    job = claimed_job("system.backup", parameters={"backup_set": "plant"}, timeout_seconds=90)
    moments = (lambda: exists(tmp_path / "work"), lambda: exists(plant.store), restoring)
    for number, seen in enumerate(moments, start=1):
        again = replace(job, attempt=number, lease_token=uuid4())
        died = await outcome(store, again, tmp_path, seen)
        assert died.error is not None
        assert died.error.code == "process_died"
        assert plant.manifests() == []
    last = replace(job, attempt=4, attempts_max=4, lease_token=uuid4())
    end = await outcome(store, last, tmp_path)
    assert end.state is JobState.SUCCEEDED, end.error
    assert end.result is not None
    assert end.result["verified"] == "restore"
    assert len(plant.manifests()) == len(plant.stored("content-*.zst")) == 1
    assert await databases(postgres_url) == before
    assert list((tmp_path / "work").iterdir()) == []
