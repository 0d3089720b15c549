"""PostgreSQL's own programs: found, of a version that fits, and run by argument list."""

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit, urlunsplit

from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

INSTALLATIONS = Path("/usr/lib/postgresql")
LOOK_SECONDS = 0.2
LINE_BYTES_MAX = 16 * 1024 * 1024
ERROR_CHARACTERS_MAX = 600
UNAVAILABLE = re.compile(
    r"connection to server|could not connect|server closed the connection|the database system is"
    r"|terminating connection|too many clients|timeout expired"
)
_VERSION = re.compile(r"(\d+)(?:\.\d+)?")


def folder_for(major: int, chosen: Path | None) -> Path:
    """Find programs for a server of a major version: as new as it, or newer, and the oldest such.

    An older pg_dump does not know what a newer server has. Raises PermanentError `pg_dump_too_old`
    before anything was dumped.
    """
    found = {v: folder for folder in _folders(chosen) if (v := _major_of(folder)) is not None}
    fit = [version for version in found if version >= major]
    if not fit:
        have = ", ".join(map(str, sorted(found))) or "none"
        raise PermanentError(
            "pg_dump_too_old",
            f"the server is PostgreSQL {major}, pg_dump is installed in versions: {have}. Install "
            f"postgresql-client-{major} or newer, or set LINESHAFT_POSTGRES_PROGRAMS",
        )
    return found[min(fit)]


def any_folder(chosen: Path | None) -> Path:
    """Find programs of whatever version, to ask a server for its own."""
    return folder_for(0, chosen)


def _folders(chosen: Path | None) -> list[Path]:
    if chosen is not None:
        return [chosen]
    folders = [path.parent for path in INSTALLATIONS.glob("*/bin/pg_dump")]
    on_path = shutil.which("pg_dump")
    if on_path is not None and not folders:
        folders.append(Path(on_path).parent)
    return folders


def _major_of(folder: Path) -> int | None:
    try:
        done = subprocess.run(
            [str(folder / "pg_dump"), "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(done.stdout)
    return None if found is None else int(found.group(1))


class Server:
    """The address of a database, taken apart so that no secret is on a command line."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"postgres", "postgresql"} or not parts.hostname:
            raise PermanentError("backup_not_configured", "the address is not a PostgreSQL URL")
        self._parts = parts
        self._password = None if parts.password is None else unquote(parts.password)

    @property
    def database(self) -> str:
        """Return the database's name."""
        return unquote(self._parts.path.removeprefix("/"))

    def url(self, database: str | None = None) -> str:
        """Return the address without the password."""
        host = self._parts.netloc.rpartition("@")[2]
        user = self._parts.netloc.rpartition("@")[0].partition(":")[0]
        path = self._parts.path if database is None else f"/{database}"
        return urlunsplit(
            self._parts._replace(netloc=f"{user}@{host}" if user else host, path=path)
        )

    def environment(self) -> dict[str, str]:
        """Return what its programs find: the secret, and settings under which text is the same."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("PG")}
        ours = {
            "PGCONNECT_TIMEOUT": "10",
            "PGAPPNAME": "lineshaft-backup",
            "PGTZ": "UTC",
            "PGDATESTYLE": "ISO, YMD",
            "PGCLIENTENCODING": "UTF8",
            "PGOPTIONS": "-c extra_float_digits=1 -c intervalstyle=postgres -c bytea_output=hex "
            "-c statement_timeout=0 -c row_security=off",
        }
        secret = {} if self._password is None else {"PGPASSWORD": self._password}
        return {**inherited, **ours, **secret}

    def clean(self, text: str) -> str:
        """Return a program's words without the password."""
        words = " ".join(text.split())
        return words.replace(self._password, "***") if self._password else words


@asynccontextmanager
async def started(
    argv: Sequence[str],
    environment: Mapping[str, str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int = subprocess.PIPE,
) -> AsyncGenerator[Process]:
    """Run a program for the time of the block; it is killed when the block ends before it."""
    process = await asyncio.create_subprocess_exec(
        *argv,
        env=environment,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        limit=LINE_BYTES_MAX,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


async def run(
    context: JobContext,
    argv: Sequence[str],
    server: Server,
    *,
    code: str,
    timeout_seconds: float,
) -> str:
    """Run a program to its end; returns what it says.

    Raises PermanentError `code`, or RetryableError when the server was away, and JobStoppedError
    when the job is cancelled.
    """
    async with started(argv, server.environment()) as process:
        talking = asyncio.ensure_future(process.communicate())
        output, errors = await attended(context, talking, timeout_seconds=timeout_seconds)
    check(process.returncode, errors, server, code=code)
    return output.decode(errors="replace")


async def attended(
    context: JobContext, work: "asyncio.Future[tuple[bytes, bytes]]", *, timeout_seconds: float
) -> tuple[bytes, bytes]:
    """Wait for work, and look whether the job is cancelled."""
    try:
        async with asyncio.timeout(timeout_seconds):
            while not work.done():
                stop_if_cancelled(context)
                await asyncio.wait([work], timeout=LOOK_SECONDS)
    except TimeoutError:
        raise RetryableError(
            "backup_timeout", f"a program ran longer than {timeout_seconds:g} s"
        ) from None
    finally:
        if not work.done():
            work.cancel()
    return work.result()


def check(status: int | None, errors: bytes, server: Server, *, code: str) -> None:
    """Raise what a failed program means."""
    if status == 0:
        return
    text = server.clean(errors.decode(errors="replace"))[-ERROR_CHARACTERS_MAX:]
    if UNAVAILABLE.search(text) and "authentication failed" not in text:
        raise RetryableError("backup_source_unavailable", text)
    raise PermanentError(code, text or f"the program ended with status {status}")
