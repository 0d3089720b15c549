"""Job types for tests, installed like a user's own: they wait, fail, hang, eat memory and die."""

import asyncio
import os
import signal
import subprocess
import sys
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
    SnoozeError,
    WaitForChildrenError,
)
from pydantic import BaseModel, Field

Act = Literal[
    "succeed",
    "fail",
    "fail_for_good",
    "hang",
    "spin",
    "block",
    "eat",
    "grow",
    "die",
    "exit",
    "large",
    "steps",
    "keep",
    "record",
    "snooze",
    "submit",
    "wait_for_children",
    "talk",
    "start_others",
]


class Parameters(BaseModel):
    """What to do."""

    act: Act = "succeed"
    until_attempt: int = 0
    """Only attempts up to this one do so, later ones succeed; 0 means all."""
    seconds: float = 0
    note: str = ""
    ledger: Path | None = None
    """A file outside the system to which each effect is appended."""


class Result(BaseModel):
    """What was done."""

    attempt: int
    note_characters: int = Field(default=0, exclude_if=lambda value: not value)
    padding: str = Field(default="", exclude_if=lambda value: not value)
    restored: dict[str, Any] | None = Field(default=None, exclude_if=lambda value: not value)
    children: dict[str, int] | None = Field(default=None, exclude_if=lambda value: not value)


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
        children = None if context.children is None else dict(context.children)
        return Result(
            attempt=context.attempt,
            note_characters=len(parameters.note),
            padding=padding,
            restored=context.restored,
            children=children,
        )


class Work(Wait):
    """Runs in a child process."""

    name = "trial.work"
    title = "Work"
    isolation = Isolation.PROCESS
    memory_bytes_max = 300 * 2**20


async def act(context: JobContext, what: Act) -> None:
    """Behave, or misbehave."""
    await behave(context, what)
    await misbehave(context, what)


async def behave(context: JobContext, what: Act) -> None:  # noqa: C901 - a list of cases.
    """Do what a good job may do."""
    match what:
        case "keep":
            for done in range(30):
                context.checkpoint({"done": done})
            time.sleep(0.5)  # noqa: ASYNC251 - a job that leaves its loop no time to tell more.
            raise RetryableError("half_way", "go on from the checkpoint")
        case "record":
            await context.record({f"effect {context.attempt}": {"state": "about to"}})
            os.kill(os.getpid(), signal.SIGKILL)
        case "snooze":
            context.checkpoint({"asked": True})
            raise SnoozeError(60, "the supplier's file is not there yet")
        case "submit" | "wait_for_children" if context.children is None:
            for step in range(3):
                context.submit("trial.wait", {"seconds": step / 10}, order_key="one by one")
            if what == "wait_for_children":
                raise WaitForChildrenError
        case "talk":
            context.log("half done", done=1, of=2)
            print("printed", flush=True)  # noqa: T201 - what a library may do.
            os.write(2, b"an error of a library\n")
        case "steps":
            for step in range(1, 11):
                context.progress(step, 10, f"step {step}")
                await asyncio.sleep(0.15)
            async with context.artifact("steps.txt", media_type="text/plain") as file:
                file.path.write_text("ten steps\n")
                file.rows = 1
        case _:
            pass


async def misbehave(context: JobContext, what: Act) -> None:  # noqa: C901, PLR0912 - a list of cases.
    """Do what harms others."""
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
        case "block":
            time.sleep(6)  # noqa: ASYNC251 - what a job in the loop must not do.
        case "eat":
            eaten = bytearray(400 * 2**20)
            eaten[::4096] = b"x" * len(eaten[::4096])
            await asyncio.sleep(30)
        case "die":
            os.kill(os.getpid(), signal.SIGKILL)
        case "grow":
            grown = [bytearray(b"x" * 2**20) for _ in range(20_000)]
            raise RetryableError("too_large", str(len(grown)))
        case "exit":
            sys.exit(3)
        case "start_others":
            command = [sys.executable, "-c", "import time; time.sleep(60)"]
            others = [
                subprocess.Popen(command, start_new_session=session)  # noqa: ASYNC220
                for session in (False, True)
            ]
            context.checkpoint({"pids": [other.pid for other in others]})
            while True:
                await asyncio.sleep(1)
        case _:
            pass
