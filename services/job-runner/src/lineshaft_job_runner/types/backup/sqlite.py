"""An SQLite database as a subject: its own backup interface, checked and measured."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from lineshaft_contracts.backups import BackupItem

from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.backup.files import rename_once, restored_place, scratch_place
from lineshaft_job_runner.types.backup.packing import BLOCK_BYTES, DamagedError, Packer, unpacked
from lineshaft_job_runner.types.backup.sets import BackupSet
from lineshaft_job_runner.types.backup.subject import Dumped, Examined, Inventory, Moved
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

PAGES_AT_ONCE = 1_000


class DatabaseFile:
    """See `Subject`. Writers go on meanwhile; the copy is of one moment."""

    def __init__(self, context: JobContext, backup_set: BackupSet, scratch: Path) -> None:
        self._context = context
        self._set = backup_set
        self._scratch = scratch
        self._path = Path() if backup_set.path is None else backup_set.path

    async def examine(self) -> Examined:
        """Open the file."""
        return await asyncio.to_thread(self._examine)

    async def dump(self, path: Path, moved: Moved) -> Dumped:
        """Copy page by page into a file, measure that, and pack it."""
        return await asyncio.to_thread(self._dump, path, moved)

    async def restore(
        self, path: Path, scratch: str, restores_with: Mapping[str, str], moved: Moved
    ) -> Inventory:
        """Unpack into a new file, check its integrity, and measure it."""
        return await asyncio.to_thread(self._restore, path, self._place(scratch), moved)

    async def remove(self, scratch: str) -> None:
        """Remove a file that was unpacked."""
        self._place(scratch).unlink(missing_ok=True)

    async def is_free(self, target: str) -> bool:
        """Look for the name."""
        return not restored_place(self._set, target).exists()

    async def publish(self, scratch: str, target: str) -> None:
        """Rename the file."""
        rename_once(self._place(scratch), restored_place(self._set, target))

    def _place(self, scratch: str) -> Path:
        return scratch_place(self._set, self._scratch, scratch)

    def _examine(self) -> Examined:
        if not self._path.is_file():
            raise PermanentError("backup_source_missing", f"{self._path} is no file")
        with closing(_reading(self._path)) as source:
            return Examined(
                version="SQLite",
                made_by=f"SQLite {sqlite3.sqlite_version}",
                bytes_estimated=self._path.stat().st_size,
                items=len(_tables(source)),
            )

    def _dump(self, path: Path, moved: Moved) -> Dumped:
        copy = path.with_suffix(".copy")
        copy.unlink(missing_ok=True)
        try:
            with closing(_reading(self._path)) as source, closing(sqlite3.connect(copy)) as target:
                source.backup(target, pages=PAGES_AT_ONCE, progress=self._look)
            at = datetime.now(UTC)
            found = _measure(copy)
            with (
                Packer(path, level=self._set.compression_level) as packer,
                copy.open("rb") as file,
            ):
                while block := file.read(BLOCK_BYTES):
                    packer.write(block)
                    moved(packer.content_bytes)
        except sqlite3.OperationalError as error:
            raise RetryableError("backup_source_unavailable", str(error)) from error
        finally:
            copy.unlink(missing_ok=True)
        return Dumped(
            snapshot_at=at,
            inventory=found,
            content_bytes=packer.content_bytes,
            content_sha256=packer.content_sha256,
        )

    def _look(self, _status: int, _remaining: int, _total: int) -> None:
        stop_if_cancelled(self._context)

    def _restore(self, path: Path, place: Path, moved: Moved) -> Inventory:
        done = 0
        with place.open("wb") as file:
            for block in unpacked(path):
                stop_if_cancelled(self._context)
                file.write(block)
                done += len(block)
                moved(done)
        return _measure(place)


def _reading(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)


def _tables(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' "
        "AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name"
    )
    return [row[0] for row in rows]


def _measure(path: Path) -> Inventory:
    """Check a file, count its rows, and sum up what they hold, in any order."""
    try:
        with closing(_reading(path)) as database:
            (verdict,) = database.execute("PRAGMA integrity_check(1)").fetchone()
            if verdict != "ok":
                raise DamagedError(f"SQLite says: {verdict}")
            items = tuple(_item(database, name) for name in _tables(database))
            (others,) = database.execute(
                "SELECT count(*) FROM sqlite_master WHERE type <> 'table'"
            ).fetchone()
    except sqlite3.DatabaseError as error:
        raise DamagedError(f"SQLite says: {error}") from error
    return Inventory(items=items, parts={"indexes_views_triggers": int(others)})


def _item(database: sqlite3.Connection, name: str) -> BackupItem:
    quoted = name.replace('"', '""')
    rows, total = 0, 0
    for row in database.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - its own name.
        rows += 1
        total += int.from_bytes(hashlib.blake2b(repr(row).encode(), digest_size=8).digest())
    return BackupItem(name=name, rows=rows, digest=f"{total:x}")
