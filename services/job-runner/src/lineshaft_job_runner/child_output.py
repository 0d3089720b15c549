"""What a child process and its libraries print: lines of the runner's log, within bounds."""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import structlog

from lineshaft_job_runner import job_log
from lineshaft_job_runner.job import ClaimedJob

log = structlog.get_logger(__name__)

READ_BYTES_MAX = 65_536
LINE_BYTES_MAX = 1_000
TAIL_LINES = 20


class ChildOutput:
    """Reads the pipe that is a child's standard output and error, so that it is never full."""

    def __init__(self, pipe: asyncio.StreamReader) -> None:
        self._pipe = pipe
        self._job: ClaimedJob | None = None
        self._lines = job_log.BoundedLog(self._write)
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._reading = asyncio.create_task(self._read(), name="child-output")

    def begin(self, job: ClaimedJob) -> None:
        """Say whose output follows."""
        self._job = job
        self._lines = job_log.BoundedLog(self._write)
        self._tail.clear()

    @property
    def tail(self) -> str:
        """The last lines, for an attempt that ended without an answer."""
        return "\n".join(self._tail)

    async def close(self) -> None:
        """Take what is left, for a moment: something that escaped may hold the pipe open."""
        try:
            async with asyncio.timeout(0.2):
                await asyncio.shield(self._reading)
        except TimeoutError:
            self._reading.cancel()

    async def _read(self) -> None:
        rest = b""
        while chunk := await self._pipe.read(READ_BYTES_MAX):
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._line(line)
            while len(rest) > LINE_BYTES_MAX:
                self._line(rest[:LINE_BYTES_MAX])
                rest = rest[LINE_BYTES_MAX:]
        if rest:
            self._line(rest)

    def _line(self, line: bytes) -> None:
        text = line[:LINE_BYTES_MAX].decode("utf-8", "replace").rstrip()
        if text:
            self._tail.append(text)
            self._lines.write(text, {})

    def _write(self, text: str, data: Mapping[str, Any]) -> None:
        about = {} if self._job is None else job_log.about(self._job)
        log.info("job_output", line=text, **data, **about)
