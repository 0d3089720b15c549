"""Running jobs in child processes that are kept warm, watched, and killed when they must end."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any, Self

import structlog
from lineshaft_contracts.jobs import JobError, Progress
from prometheus_client import Counter, Gauge

from lineshaft_job_runner.child import frames
from lineshaft_job_runner.child.settings import WITHHELD
from lineshaft_job_runner.execution import AttemptError, OnProgress, StoppedError, Success
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import JobType

log = structlog.get_logger(__name__)

START_SECONDS_MAX = 30.0
WATCH_SECONDS = 0.2
JOBS_PER_CHILD = 100
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

CHILDREN = Gauge("lineshaft_jobs_children", "Child processes that are alive")
KILLED = Counter("lineshaft_jobs_children_killed_total", "Child processes killed", ["reason"])


class _Child:
    """A child process and the socket to it."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.reader = reader
        self.writer = writer
        self.jobs = 0
        self.idle_since = time.monotonic()
        CHILDREN.inc()

    @classmethod
    async def start(cls, object_store_url: str) -> Self:
        """Start a process and wait until it can take a job."""
        ours, theirs = socket.socketpair()
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lineshaft_job_runner.child",
                str(theirs.fileno()),
                str(os.getpid()),
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
                env={name: value for name, value in os.environ.items() if name not in WITHHELD}
                | {"LINESHAFT_OBJECT_STORE_URL": object_store_url},
            )
        reader, writer = await asyncio.open_connection(sock=ours, limit=frames.LINE_BYTES_MAX)
        child = cls(process, reader, writer)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await reader.readuntil(b"\n")
        except BaseException:
            await child.end()
            raise
        return child

    def resident_bytes(self) -> int:
        """Memory that the process really holds; 0 when it is gone."""
        try:
            return int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]) * PAGE_BYTES
        except (OSError, IndexError):
            return 0

    async def end(self) -> None:
        """Kill the process with all it started, and wait for its end."""
        self.writer.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        await self.process.wait()
        CHILDREN.dec()


class _ChildExecution:
    """See `Execution`: one attempt in a child."""

    def __init__(
        self,
        pool: "ChildProcesses",
        job: ClaimedJob,
        memory_bytes_max: int | None,
        on_progress: OnProgress,
    ) -> None:
        self._pool = pool
        self._job = job
        self._memory_bytes_max = memory_bytes_max
        self._on_progress = on_progress
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Ask the child; after the grace it is killed."""
        self._stopping.set()

    async def run(self) -> Success:
        """Run in a child of the pool, which is kept only when it is fit for another job."""
        child = await self._pool.take()
        fit = False
        try:
            child.writer.write(frames.run(self._job))
            frame = await self._answer(child)
            fit = True
        finally:
            await self._pool.give_back(child, fit=fit)
        if frame["kind"] == "succeeded":
            return Success(result=frame["result"], artifacts=frames.read_artifacts(frame))
        if frame["kind"] == "stopped":
            raise StoppedError
        raise AttemptError(JobError.model_validate(frame["error"]), log=frame["log"])

    async def _answer(self, child: _Child) -> dict[str, Any]:
        """Wait for the end of the attempt, the child, its memory or our patience."""
        listening = asyncio.create_task(self._listen(child))
        stopping = asyncio.create_task(self._stopping.wait())
        deadline: float | None = None
        try:
            while not listening.done():
                await asyncio.wait(
                    [listening] if deadline else [listening, stopping],
                    timeout=WATCH_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if self._stopping.is_set() and deadline is None:
                    deadline = time.monotonic() + self._pool.grace_seconds
                    child.writer.write(frames.write("stop"))
                if deadline is not None and time.monotonic() > deadline and not listening.done():
                    KILLED.labels("stopped").inc()
                    raise StoppedError
                self._check_memory(child)
            return listening.result()
        finally:
            listening.cancel()
            stopping.cancel()

    async def _listen(self, child: _Child) -> dict[str, Any]:
        while line := await child.reader.readline():
            frame = frames.read(line)
            if frame["kind"] != "progress":
                return frame
            self._on_progress(Progress.model_validate(frame["progress"]))
        code = await child.process.wait()
        raise AttemptError(
            JobError(code="process_died", message=f"The job's process ended with status {code}.")
        )

    def _check_memory(self, child: _Child) -> None:
        limit = self._memory_bytes_max
        if limit is not None and child.resident_bytes() > limit:
            KILLED.labels("memory").inc()
            raise AttemptError(
                JobError(
                    code="memory_limit",
                    message=f"The job needed more than its {limit // 2**20} MiB and was ended.",
                    retryable=False,
                )
            )


class ChildProcesses:
    """See `Executor`: up to `places` children; an idle one is kept for a while, then ended."""

    def __init__(
        self, *, places: int, idle_seconds: float, grace_seconds: float, object_store_url: str
    ) -> None:
        self.places = places
        self._object_store_url = object_store_url
        self.grace_seconds = grace_seconds
        self._idle_seconds = idle_seconds
        self._idle: list[_Child] = []
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._end_idle(), name="child-keeper")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        for child in self._idle:
            await child.end()

    def start(
        self, job: ClaimedJob, job_type: JobType[Any, Any], on_progress: OnProgress
    ) -> _ChildExecution:
        """See `Executor.start`."""
        return _ChildExecution(self, job, job_type.memory_bytes_max, on_progress)

    async def take(self) -> _Child:
        """Take a warm child, or start one."""
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None:
                return child
            await child.end()
        try:
            return await _Child.start(self._object_store_url)
        except (OSError, EOFError, TimeoutError) as error:
            raise AttemptError(
                JobError(code="process_not_started", message=str(error)[:300])
            ) from error

    async def give_back(self, child: _Child, *, fit: bool) -> None:
        """Keep a child for the next job, or end it."""
        child.jobs += 1
        if not fit or child.jobs >= JOBS_PER_CHILD or child.process.returncode is not None:
            await asyncio.shield(child.end())
        else:
            child.idle_since = time.monotonic()
            self._idle.append(child)

    async def _end_idle(self) -> None:
        while True:
            await asyncio.sleep(max(1.0, self._idle_seconds / 4))
            oldest_allowed = time.monotonic() - self._idle_seconds
            too_old = [child for child in self._idle if child.idle_since < oldest_allowed]
            self._idle = [child for child in self._idle if child not in too_old]
            for child in too_old:
                await child.end()
