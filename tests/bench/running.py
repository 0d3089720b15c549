"""Processes of one measurement: the client that submits, the worker, and what they write."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from struct import iter_unpack

import psutil

from .peers.records import RECORD
from .places import PEERS

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
POLL_SECONDS = 0.005


class StuckError(Exception):
    """An engine did not get on in time."""


class Client:
    """A process that submits jobs when told to."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid

    async def submit(self, jobs: int, *, per_second: float = 0) -> float:
        """Submit as fast as it can, or at a rate; the seconds it took."""
        command = f"{jobs} {per_second}\n" if per_second else f"{jobs}\n"
        assert self._process.stdin is not None
        self._process.stdin.write(command.encode())
        return float(await self.answer())

    async def answer(self) -> str:
        """Return its next line."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        if not line:
            raise StuckError("the client ended")
        return line.decode().strip()


@asynccontextmanager
async def client(command: Sequence[str], environment: Mapping[str, str]) -> AsyncGenerator[Client]:
    """Run a client, ready, for the time of the block."""
    process = await asyncio.create_subprocess_exec(
        *command, cwd=PEERS, env=environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        one = Client(process)
        async with asyncio.timeout(READY_SECONDS):
            await one.answer()
        yield one
    finally:
        await _end(process)


@asynccontextmanager
async def worker(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> AsyncGenerator[int]:
    """Run a worker for the time of the block; its process id. What it says goes to a file."""
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=PEERS, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
    try:
        yield process.pid
    finally:
        await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask it to stop, then end what is left of it and of its children."""
    try:
        tree = [*psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        tree = []
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(STOP_SECONDS):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
    for one in tree:
        if one.is_running():
            one.kill()


class Records:
    """What the jobs have written, see `peers/records.py`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()

    def count(self) -> int:
        """Return how many jobs have begun."""
        return self.path.stat().st_size // RECORD.size

    async def reach(self, count: int, *, seconds: float) -> None:
        """Wait until so many jobs have begun; raises StuckError."""
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                raise StuckError(f"{self.count()} of {count} jobs after {seconds:.0f} s")
            await asyncio.sleep(POLL_SECONDS)

    def after(self, first: int) -> list[tuple[float, float]]:
        """Return when each job from this one on was submitted and began."""
        with self.path.open("rb") as file:
            file.seek(first * RECORD.size)
            return [(a, b) for a, b in iter_unpack(RECORD.format, file.read())]


@asynccontextmanager
async def records() -> AsyncGenerator[Records]:
    """Keep the records in memory for the time of the block."""
    path = Path("/dev/shm") / f"lineshaft-bench-{os.getpid()}.records"  # noqa: S108 - removed below
    path.unlink(missing_ok=True)
    try:
        yield Records(path)
    finally:
        path.unlink(missing_ok=True)
