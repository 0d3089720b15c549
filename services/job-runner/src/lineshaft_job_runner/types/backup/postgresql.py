"""A PostgreSQL database as a subject: pg_dump and pg_restore in one snapshot, measured by psql."""

import asyncio
import subprocess
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.backup import packing, programs, psql, tables
from lineshaft_job_runner.types.backup.packing import Packer, unpacked
from lineshaft_job_runner.types.backup.programs import Server
from lineshaft_job_runner.types.backup.sets import BackupSet
from lineshaft_job_runner.types.backup.subject import Dumped, Examined, Inventory, Moved
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

LOCK_WAIT = "60s"
END_SECONDS = 60.0
_ABOUT = """
    SELECT current_setting('server_version') AS version,
           current_setting('server_version_num')::integer / 10000 AS major,
           pg_database_size(current_database()) AS bytes,
           pg_encoding_to_char(encoding) AS encoding,
           datcollate AS collate, datctype AS ctype, datlocprovider::text AS provider
    FROM pg_database WHERE datname = current_database()
"""


class Database:
    """See `Subject`. Copies are made by `scratch_url_env`, else on the same server."""

    def __init__(self, context: JobContext, backup_set: BackupSet, chosen: Path | None) -> None:
        self._context = context
        self._set = backup_set
        self._chosen = chosen
        self._server = Server(backup_set.database_url())
        self._scratch = Server(backup_set.scratch_url())
        self._seconds = backup_set.timeout_seconds

    async def examine(self) -> Examined:
        """Compare the versions first: an older pg_dump would fail late, or dump too little."""
        async with self._session(self._server, None) as session:
            about = await session.row(_ABOUT)
            found = await tables.names(session)
        folder = programs.folder_for(about["major"], self._chosen)
        said = await programs.run(
            self._context,
            [str(folder / "pg_dump"), "--version"],
            self._server,
            code="dump_failed",
            timeout_seconds=10,
        )
        return Examined(
            version=f"PostgreSQL {about['version']}",
            made_by=said.strip(),
            bytes_estimated=int(about["bytes"]),
            items=len(found),
        )

    async def dump(self, path: Path, moved: Moved) -> Dumped:
        """Dump and measure one exported snapshot, whatever is written meanwhile."""
        async with self._session(self._server, None) as session:
            about = await session.row(_ABOUT)
            folder = programs.folder_for(about["major"], self._chosen)
            await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            row = await session.row("SELECT pg_export_snapshot() AS id, now() AS at")
            with Packer(path, level=self._set.compression_level) as packer:
                await self._dump(folder, row["id"], packer, moved)
            found = await tables.inventory(session)
        return Dumped(
            snapshot_at=datetime.fromisoformat(row["at"]),
            inventory=found,
            content_bytes=packer.content_bytes,
            content_sha256=packer.content_sha256,
            restores_with={name: about[name] for name in ("encoding", "collate", "ctype")}
            if about["provider"] == "c"
            else {"encoding": about["encoding"]},
        )

    async def restore(
        self, path: Path, scratch: str, restores_with: Mapping[str, str], moved: Moved
    ) -> Inventory:
        """Make a database of this name, restore into it, and measure it."""
        folder = await self._folder(self._scratch)
        await self._create(folder, scratch, restores_with)
        argv = [str(folder / "pg_restore"), "--no-owner", "--no-privileges", "--exit-on-error"]
        argv += ["--no-publications", "--no-subscriptions", "--no-password"]
        argv += ["--dbname", self._scratch.url(scratch)]
        async with programs.started(
            argv,
            self._scratch.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        ) as process:
            feeding = asyncio.ensure_future(self._feed(process, path, moved))
            _, errors = await programs.attended(
                self._context, feeding, timeout_seconds=self._seconds
            )
        programs.check(process.returncode, errors, self._scratch, code="restore_failed")
        async with self._session(self._scratch, scratch) as session:
            return await tables.inventory(session)

    async def remove(self, scratch: str) -> None:
        """Drop a database, whoever looks into it."""
        folder = await self._folder(self._scratch)
        await self._command(folder, f'DROP DATABASE IF EXISTS "{scratch}" WITH (FORCE)')

    async def is_free(self, target: str) -> bool:
        """Look for the name."""
        async with self._session(self._scratch, None) as session:
            found = f"SELECT count(*) AS n FROM pg_database WHERE datname = {_literal(target)}"  # noqa: S608
            return (await session.row(found))["n"] == 0

    async def publish(self, scratch: str, target: str) -> None:
        """Rename the database."""
        folder = await self._folder(self._scratch)
        try:
            await self._command(folder, f'ALTER DATABASE "{scratch}" RENAME TO "{target}"')
        except PermanentError as error:
            if "already exists" in str(error):
                raise PermanentError(
                    "target_exists", f"there is a database {target!r}: nothing is overwritten"
                ) from error
            raise

    async def _dump(self, folder: Path, snapshot: str, packer: Packer, moved: Moved) -> None:
        argv = [str(folder / "pg_dump"), "--format=custom", "--compress=0", "--no-password"]
        argv += [f"--snapshot={snapshot}", f"--lock-wait-timeout={LOCK_WAIT}"]
        argv += ["--dbname", self._server.url()]
        async with programs.started(argv, self._server.environment()) as process:

            async def take() -> tuple[bytes, bytes]:
                out, err = process.stdout, process.stderr
                if out is None or err is None:
                    raise RuntimeError("pg_dump was started without pipes")
                complaints = asyncio.ensure_future(err.read())
                while block := await out.read(packing.BLOCK_BYTES):
                    await asyncio.to_thread(packer.write, block)
                    moved(packer.content_bytes)
                await process.wait()
                return b"", await complaints

            taking = asyncio.ensure_future(take())
            _, errors = await programs.attended(
                self._context, taking, timeout_seconds=self._seconds
            )
        programs.check(process.returncode, errors, self._server, code="dump_failed")

    async def _feed(
        self, process: asyncio.subprocess.Process, path: Path, moved: Moved
    ) -> tuple[bytes, bytes]:
        if process.stdin is None or process.stderr is None:
            raise RuntimeError("pg_restore was started without pipes")
        complaints = asyncio.ensure_future(process.stderr.read())
        done, blocks = 0, unpacked(path)
        try:
            while (block := await asyncio.to_thread(next, blocks, b"")) != b"":
                process.stdin.write(block)
                await process.stdin.drain()
                done += len(block)
                moved(done)
                stop_if_cancelled(self._context)
            process.stdin.close()
        except (BrokenPipeError, ConnectionResetError):
            pass  # It ended early; its status and words say why.
        await process.wait()
        return b"", await complaints

    async def _create(self, folder: Path, scratch: str, restores_with: Mapping[str, str]) -> None:
        options = [f"ENCODING {_literal(restores_with.get('encoding', 'UTF8'))}"]
        if "collate" in restores_with:
            options.append(f"LC_COLLATE {_literal(restores_with['collate'])}")
            options.append(f"LC_CTYPE {_literal(restores_with['ctype'])}")
        await self._command(
            folder, f'CREATE DATABASE "{scratch}" TEMPLATE template0 {" ".join(options)}'
        )

    async def _command(self, folder: Path, statement: str) -> None:
        await psql.command(
            self._context, folder, self._scratch, statement, timeout_seconds=END_SECONDS
        )

    async def _folder(self, server: Server) -> Path:
        async with self._session(server, None) as session:
            about = await session.row(_ABOUT)
        return programs.folder_for(about["major"], self._chosen)

    @asynccontextmanager
    async def _session(self, server: Server, database: str | None) -> AsyncGenerator[psql.Session]:
        async with psql.session(
            self._context,
            programs.any_folder(self._chosen),
            server,
            database=database or server.database,
            timeout_seconds=self._seconds,
        ) as session:
            yield session


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
