"""A conversation with a PostgreSQL server through psql, which speaks for us without a driver."""

import asyncio
import json
import subprocess
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.backup.programs import Server, attended, check, run, started


class Session:
    """One connection; every answer is rows as objects."""

    def __init__(
        self, context: JobContext, process: Process, server: Server, seconds: float
    ) -> None:
        self._context = context
        self._process = process
        self._server = server
        self._seconds = seconds

    async def execute(self, statement: str) -> None:
        """Run a statement that answers nothing."""
        await self._say(statement)

    async def rows(self, query: str) -> list[dict[str, Any]]:
        """Run a query."""
        lines = await self._say(f"SELECT row_to_json(answer) FROM ({query}) AS answer")  # noqa: S608
        return [json.loads(line) for line in lines]

    async def row(self, query: str) -> dict[str, Any]:
        """Run a query that has one row."""
        (row,) = await self.rows(query)
        return row

    async def _say(self, statement: str) -> list[bytes]:
        end = uuid.uuid4().hex
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise RuntimeError("psql was started without pipes")
        stdin.write(f"{statement};\n\\echo {end}\n".encode())

        async def listen() -> tuple[bytes, bytes]:
            lines: list[bytes] = []
            while line := await stdout.readline():
                if line.strip() == end.encode():
                    return b"".join(lines), b""
                lines.append(line)
            errors = b"" if self._process.stderr is None else await self._process.stderr.read()
            return b"", errors or b"psql ended"

        listening = asyncio.ensure_future(listen())
        said, errors = await attended(self._context, listening, timeout_seconds=self._seconds)
        if errors:
            check(
                await self._process.wait() or 1, errors, self._server, code="backup_query_failed"
            )
        return said.splitlines()


@asynccontextmanager
async def session(
    context: JobContext, programs: Path, server: Server, *, database: str, timeout_seconds: float
) -> AsyncGenerator[Session]:
    """Connect for the time of the block; what was open ends with it."""
    argv = [str(programs / "psql"), "-XqAtw", "-v", "ON_ERROR_STOP=1"]
    argv += ["--dbname", server.url(database)]
    async with started(argv, server.environment(), stdin=subprocess.PIPE) as process:
        yield Session(context, process, server, timeout_seconds)


async def command(
    context: JobContext,
    programs: Path,
    server: Server,
    statement: str,
    *,
    timeout_seconds: float,
) -> None:
    """Run one statement that may be in no transaction, such as CREATE DATABASE."""
    argv = [str(programs / "psql"), "-XqAtw", "-v", "ON_ERROR_STOP=1"]
    argv += ["--dbname", server.url(), "--command", statement]
    await run(context, argv, server, code="backup_query_failed", timeout_seconds=timeout_seconds)
