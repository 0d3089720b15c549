"""Leases are kept by a thread of its own: a blocked loop is seen, and not mistaken for death."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import structlog
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job import Verdict
from lineshaft_job_runner.job_type import Isolation, JobContext, JobStoppedError, JobType
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.meters import LOOP_BLOCKED
from pydantic import BaseModel


class Parameters(BaseModel):
    """Nothing."""


class Result(BaseModel):
    """Nothing."""


class Do(JobType[Parameters, Result]):
    """Does what its test says."""

    name = "trial.do"
    title = "Do"
    parameters = Parameters
    result = Result
    example: ClassVar[Mapping[str, Any]] = {}
    isolation = Isolation.LOOP

    def __init__(self, body: Callable[[JobContext], Any]) -> None:
        self._body = body

    async def run(self, context: JobContext, parameters: Parameters) -> Result:
        made = self._body(context)
        if asyncio.iscoroutine(made):
            await made
        return Result()


class Store(MemoryStore):
    """Remembers in which threads it was called."""

    def __init__(self, **fields: Any) -> None:
        super().__init__(**fields)
        self.beaten_in: list[str] = []

    async def heartbeat(self, updates: Any, *, lease_seconds: float) -> Any:
        self.beaten_in.append(threading.current_thread().name)
        return await super().heartbeat(updates, lease_seconds=lease_seconds)


async def test_leases_are_kept_and_the_culprit_is_named_while_a_job_blocks_the_loop(
    tmp_path: Path,
) -> None:
    store = Store()

    def block(_: JobContext) -> None:
        deadline = time.monotonic() + 20
        store.beaten_in.clear()
        while len(store.beaten_in) < 4 or not told():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def told() -> bool:
        return any(line["event"] == "event_loop_blocked" for line in lines)

    with structlog.testing.capture_logs() as lines:
        blocking, waiting = claimed_job(), claimed_job()
        store.jobs = [blocking, waiting]
        async with memory_runner(store, Catalogue([Do(block)]), tmp_path):
            await store.end_of(blocking)
    assert set(store.beaten_in) == {"heartbeats"}
    warning = next(line for line in lines if line["event"] == "event_loop_blocked")
    assert warning["job_id"] in {str(blocking.id), str(waiting.id)}
    assert warning["job_type"] == "trial.do"
    assert __file__ in warning["line"]
    assert f"trial.do {blocking.id}" in warning["running"]
    assert warning["seconds"] >= 1
    assert next(iter(LOOP_BLOCKED.collect())).samples[0].value >= 1


async def test_a_cancellation_that_the_thread_finds_reaches_the_job(tmp_path: Path) -> None:
    async def body(context: JobContext) -> None:
        while not context.cancelled:
            await asyncio.sleep(0.01)
        raise JobStoppedError

    job = claimed_job()
    store = Store(jobs=[job])
    async with memory_runner(store, Catalogue([Do(body)]), tmp_path, lease_seconds=60) as runner:
        async with asyncio.timeout(10):
            while store.jobs:
                await asyncio.sleep(0.01)
        store.cancelled.add(job.lease_token)
        runner.look_for_cancellations()  # Long before a lease is due.
        assert (await store.end_of(job)).verdict is Verdict.CANCELLED


async def test_a_job_that_was_taken_over_is_stopped_and_its_lease_left_alone(
    tmp_path: Path,
) -> None:
    async def body(context: JobContext) -> None:
        while not context.cancelled:
            await asyncio.sleep(0.01)
        raise JobStoppedError

    job = claimed_job()
    store = Store(jobs=[job], taken={job.lease_token})
    with structlog.testing.capture_logs() as lines:
        async with memory_runner(store, Catalogue([Do(body)]), tmp_path):
            assert (await store.end_of(job)).verdict is Verdict.RELEASED
            beats = len(store.beaten_in)
    assert [line["event"] for line in lines if line["event"] == "lease_lost"] == ["lease_lost"]
    assert beats == len(store.beaten_in)


async def test_a_worker_whose_leases_cannot_be_opened_does_not_start(tmp_path: Path) -> None:
    class Closed(Store):
        """Has no connection to give."""

        async def heartbeat(self, updates: Any, *, lease_seconds: float) -> Any:
            raise AssertionError

    def refuse(*_: object, **__: object) -> Any:
        raise ConnectionRefusedError

    store = Closed()
    runner = memory_runner(store, Catalogue([]), tmp_path)
    async with runner as started:
        heartbeats = started._beats
    heartbeats._open_store = refuse
    heartbeats._opened = type(heartbeats._opened)()
    with pytest.raises(ConnectionRefusedError):
        await heartbeats.__aenter__()


FROZEN = """
import asyncio, sys, time
from pathlib import Path
sys.path.insert(0, {folder!r})
from test_heartbeats import Do, Store
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.memory_store import claimed_job, memory_runner


class Late(Store):
    def __init__(self, **fields):
        super().__init__(**fields)
        self.beaten_at = time.monotonic()

    async def heartbeat(self, updates, *, lease_seconds):
        self.beaten_at = time.monotonic()
        await asyncio.sleep(0.3)  # A slow answer: what happens meanwhile?
        return await super().heartbeat(updates, lease_seconds=lease_seconds)

    async def rescue(self):
        print("rescue", round(time.monotonic() - self.beaten_at, 3), flush=True)
        return 0


async def main():
    store = Late(jobs=[claimed_job()])
    async with memory_runner(
        store, Catalogue([Do(lambda _: asyncio.sleep(60))]), Path({folder!r}), lease_seconds=3
    ):
        await asyncio.sleep(60)

asyncio.run(main())
"""


def test_a_process_that_was_frozen_keeps_its_own_leases_before_it_rescues() -> None:
    script = FROZEN.format(folder=str(Path(__file__).parent))
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline().startswith("rescue")
        os.kill(process.pid, signal.SIGSTOP)
        time.sleep(4)  # Longer than a lease; nothing else passes while it is frozen.
        os.kill(process.pid, signal.SIGCONT)
        for _ in range(3):
            _, since_beat = process.stdout.readline().split()
            assert float(since_beat) < 3
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
