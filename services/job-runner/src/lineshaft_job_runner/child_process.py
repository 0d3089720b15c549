"""One child process, and the socket and the pipe to it."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from typing import Self

from lineshaft_job_runner import process_tree
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.child.settings import WITHHELD
from lineshaft_job_runner.child_output import ChildOutput
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.meters import CHILDREN

START_SECONDS_MAX = 30.0
END_SECONDS_MAX = 5.0


class ChildProcess:
    """A process that runs one job after another."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        output: ChildOutput,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.process = process
        self.output = output
        self.reader = reader
        self.writer = writer
        self.jobs = 0
        self.idle_since = time.monotonic()
        CHILDREN.inc()

    @classmethod
    async def start(cls, object_store_url: str) -> Self:
        """Start a process and wait until it can take a job."""
        ours, theirs = socket.socketpair()
        log_descriptor = os.dup(1)  # Its log goes where ours goes; what it prints, to the pipe.
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "lineshaft_job_runner.child",
                str(theirs.fileno()),
                str(os.getpid()),
                str(log_descriptor),
                pass_fds=[theirs.fileno(), log_descriptor],
                start_new_session=True,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
                env={name: value for name, value in os.environ.items() if name not in WITHHELD}
                | {"LINESHAFT_OBJECT_STORE_URL": object_store_url},
            )
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(log_descriptor)
            theirs.close()
        reader, writer = await asyncio.open_connection(sock=ours, limit=frames.LINE_BYTES_MAX)
        child = cls(process, ChildOutput(_pipe(process)), reader, writer)
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await reader.readuntil(b"\n")
        except BaseException:
            await child.end()
            raise
        return child

    def begin(self, job: ClaimedJob) -> None:
        """Send a job."""
        self.output.begin(job)
        self.writer.write(frames.run(job))

    async def read(self) -> bytes | None:
        """Return what it says next; None when it ended, or says what nobody can read."""
        try:
            line = await self.reader.readline()
        except (ConnectionError, ValueError):
            return None
        return line if line.endswith(b"\n") else None

    def kill(self) -> None:
        """Kill the process with all that it started."""
        if self.process.returncode is None:
            process_tree.kill(self.process.pid)
        else:  # Its number may be another process's by now; its group's is not, while it is one.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    async def end(self) -> None:
        """Kill it, and wait for its end."""
        self.writer.close()
        self.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS_MAX):
                await self.process.wait()
        await self.output.close()
        CHILDREN.dec()


def _pipe(process: asyncio.subprocess.Process) -> asyncio.StreamReader:
    if process.stdout is None:  # It was asked for.
        raise RuntimeError("the child has no output")
    return process.stdout
