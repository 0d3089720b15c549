"""A search runs in a process that can be cancelled and killed; the next attempt starts anew."""

import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import psutil
import structlog
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.children import ChildProcesses
from lineshaft_job_runner.job import Verdict
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner
from lineshaft_job_runner.runner import Runner


def shop(orders: int, **more: Any) -> dict[str, Any]:
    random = Random(2)
    machines = [f"M{number}" for number in range(10)]
    routings: list[dict[str, Any]] = [
        {
            "id": f"R{number}",
            "operations": [
                {
                    "id": f"{k}",
                    "alternatives": [{"resource": m, "setup_minutes": random.randint(1, 99)}],
                }
                for k, m in enumerate(random.sample(machines, 10))
            ],
        }
        for number in range(orders)
    ]
    return {
        "horizon_start": "2026-11-30T05:00:00Z",
        "objectives": ["makespan"],
        "plan": {
            "orders": [{"id": f"A{n}", "routing": f"R{n}"} for n in range(orders)],
            "routings": routings,
            "resources": [{"id": machine} for machine in machines],
        },
        **more,
    }


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(90):
        while not condition():
            await asyncio.sleep(0.02)


async def engine(stack: AsyncExitStack, store: MemoryStore, folder: Path) -> Runner:
    stack.enter_context(structlog.testing.capture_logs())
    children = ChildProcesses(
        places=1, idle_seconds=60, grace_seconds=30, object_store_url=folder.as_uri(), engine=store
    )
    await stack.enter_async_context(children)
    executors = {Isolation.PROCESS: children}
    return await stack.enter_async_context(
        memory_runner(store, Catalogue.installed(), folder, lease_seconds=5, executors=executors)
    )


async def test_a_cancelled_search_ends_by_itself(tmp_path: Path) -> None:
    parameters = shop(25, solve_seconds_max=3_000)
    job = claimed_job("production.schedule", parameters=parameters, timeout_seconds=3_600)
    store = MemoryStore(jobs=[job])
    async with AsyncExitStack() as stack:
        runner = await engine(stack, store, tmp_path)
        await until(lambda: "solutions" in told(store, job.lease_token))
        store.cancelled.add(job.lease_token)
        runner.look_for_cancellations()
        end = await store.end_of(job)
    assert end.verdict is Verdict.CANCELLED
    assert end.artifacts == ()


async def test_a_search_whose_process_is_killed_is_safe_to_repeat(tmp_path: Path) -> None:
    parameters = shop(25, solve_seconds_max=3)
    job = claimed_job("production.schedule", parameters=parameters, timeout_seconds=600)
    again = replace(job, attempt=2, lease_token=uuid4())
    store = MemoryStore(jobs=[job])
    async with AsyncExitStack() as stack:
        await engine(stack, store, tmp_path)
        await until(lambda: "solutions" in told(store, job.lease_token))
        for child in psutil.Process().children():
            if "lineshaft_job_runner.child" in child.cmdline():
                os.kill(child.pid, signal.SIGKILL)
        first = await store.end_of(job)
        assert first.error is not None
        assert first.error.code == "process_died"
        assert first.artifacts == ()
        store.jobs.append(again)
        second = await store.end_of(again)
    assert second.state is JobState.SUCCEEDED
    assert second.result is not None
    assert second.result["status"] in {"feasible", "optimal"}
    assert [stored.artifact.name for stored in second.artifacts] == [
        "schedule.json",
        "schedule.csv",
        "schedule.svg",
    ]


def told(store: MemoryStore, token: Any) -> str:
    update = store.told.get(token)
    return "" if update is None else update.progress.message
