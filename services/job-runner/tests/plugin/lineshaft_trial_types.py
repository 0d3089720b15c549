"""Job types for tests, installed like a user's own: they wait, fail, hang, eat memory and die."""

import asyncio
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

from lineshaft_job_runner.job_type import (
    Isolation,
    JobContext,
    JobStoppedError,
    JobType,
    PermanentError,
    RetryableError,
)
from pydantic import BaseModel, Field

Act = Literal["succeed", "fail", "fail_for_good", "hang", "spin", "eat", "die", "large", "steps"]


class Parameters(BaseModel):
    """What to do."""

    act: Act = "succeed"
    until_attempt: int = 0
    """Only attempts up to this one do so, later ones succeed; 0 means all."""
    seconds: float = 0
    ledger: Path | None = None
    """A file outside the system to which each effect is appended."""


class Result(BaseModel):
    """What was done."""

    attempt: int
    padding: str = Field(default="", exclude_if=lambda value: not value)


class Wait(JobType[Parameters, Result]):
    """Runs in the loop."""

    name = "trial.wait"
    title = "Wait"
    parameters = Parameters
    result = Result
    example: ClassVar[Mapping[str, Any]] = {"act": "succeed"}
    isolation = Isolation.LOOP
    timeout_seconds = 30
    attempts_max = 3

    async def run(self, context: JobContext, parameters: Parameters) -> Result:
        """Do what the parameters say."""
        await asyncio.sleep(parameters.seconds)
        if not parameters.until_attempt or context.attempt <= parameters.until_attempt:
            await act(context, parameters.act)
        if parameters.ledger is not None:
            with parameters.ledger.open("a") as ledger:
                ledger.write(f"{context.job_id} {context.attempt} {os.getpid()}\n")
        padding = "x" * 100_000 if parameters.act == "large" else ""
        return Result(attempt=context.attempt, padding=padding)


class Work(Wait):
    """Runs in a child process."""

    name = "trial.work"
    title = "Work"
    isolation = Isolation.PROCESS
    memory_bytes_max = 300 * 2**20


async def act(context: JobContext, what: Act) -> None:  # noqa: C901 - a list of cases.
    """Behave, or misbehave."""
    match what:
        case "fail":
            raise RetryableError("not_yet", "try again")
        case "fail_for_good":
            raise PermanentError("never", "do not try again")
        case "hang":
            while not context.cancelled:
                await asyncio.sleep(0.02)
            raise JobStoppedError
        case "spin":
            while True:
                time.monotonic()
        case "eat":
            eaten = bytearray(400 * 2**20)
            eaten[::4096] = b"x" * len(eaten[::4096])
            await asyncio.sleep(30)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "steps":
            for step in range(1, 11):
                context.progress(step, 10, f"step {step}")
                await asyncio.sleep(0.15)
            async with context.artifact("steps.txt", media_type="text/plain") as file:
                file.path.write_text("ten steps\n")
                file.rows = 1
        case "succeed" | "large":
            pass
