"""Runs a job type in a test: real files in a folder, rows from memory, no server."""

import hashlib
import mimetypes
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import Artifact

from lineshaft_job_runner import storable
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.sources import SavedQuery, SourceError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(kw_only=True)
class FolderArtifact:
    """An artifact that is being written to a folder."""

    path: Path
    rows: int | None = None
    pages: int | None = None


@dataclass(frozen=True, kw_only=True)
class Table:
    """A saved query whose answer is known."""

    columns: Mapping[str, ColumnType]
    rows: Sequence[tuple[Any, ...]]
    parameters: Mapping[str, ColumnType] = field(default_factory=dict[str, ColumnType])
    counted: int | None = None
    """What `count` claims, to test what happens when it is wrong; the truth when absent."""


class TableRows:
    """Rows of a table in batches."""

    def __init__(self, table: Table, batch_rows: int) -> None:
        self._table = table
        self._batch_rows = batch_rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._table.columns

    async def batches(self) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Iterate over slices of the table."""
        for start in range(0, len(self._table.rows), self._batch_rows):
            yield list(self._table.rows[start : start + self._batch_rows])


class TableCopy:
    """Rows of a table as CSV, in blocks."""

    def __init__(self, table: Table, columns: Sequence[str], batch_rows: int) -> None:
        self._table = table
        self._batch_rows = batch_rows
        self._chosen = SavedQuery(sql="-", columns=dict(table.columns)).choose(columns)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._chosen

    async def send_to(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over blocks of whole rows."""
        picked = [list(self._table.columns).index(name) for name in self._chosen]
        for start in range(0, len(self._table.rows), self._batch_rows):
            batch = self._table.rows[start : start + self._batch_rows]
            lines = [",".join(_field(row[index]) for index in picked) + "\n" for row in batch]
            await write("".join(lines).encode())


class TableSource:
    """A data source in memory that checks parameters like a real one."""

    def __init__(self, tables: Mapping[str, Table], *, batch_rows: int = 1_000) -> None:
        self._tables = tables
        self._batch_rows = batch_rows

    async def count(self, query: str, parameters: Mapping[str, Any]) -> int:
        """Count the rows that `read` gives."""
        table = self._find(query, parameters)
        return len(table.rows) if table.counted is None else table.counted

    @asynccontextmanager
    async def read(self, query: str, parameters: Mapping[str, Any]) -> AsyncGenerator[TableRows]:
        """Give the rows of a table; the parameters are checked, but select nothing."""
        yield TableRows(self._find(query, parameters), self._batch_rows)

    @asynccontextmanager
    async def copy(
        self, query: str, parameters: Mapping[str, Any], *, columns: Sequence[str] = ()
    ) -> AsyncGenerator[TableCopy]:
        """Give the chosen columns of a table as CSV."""
        yield TableCopy(self._find(query, parameters), columns, self._batch_rows)

    def _find(self, query: str, parameters: Mapping[str, Any]) -> Table:
        if query not in self._tables:
            raise SourceError("source_query_unknown", f"no saved query {query!r}")
        table = self._tables[query]
        saved = SavedQuery(sql="-", parameters=dict(table.parameters), columns=dict(table.columns))
        saved.bind(parameters)
        return table


def _field(value: Any) -> str:
    match value:
        case None:
            text = ""
        case str():
            text = '"' + value.replace('"', '""') + '"'
        case bool():
            text = str(int(value))
        case datetime():
            text = str((value - EPOCH) // timedelta(microseconds=1))
        case date():
            text = str((value - EPOCH.date()).days)
        case Decimal():
            text = f"{value:f}"
        case _:
            text = str(value)
    return text


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as content:
        return path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


class FolderContext:
    """The context of one attempt; `folder` holds its finished artifacts."""

    def __init__(
        self,
        folder: Path,
        *,
        sources: Mapping[str, TableSource] | None = None,
        cancel_after: int | None = None,
        restored: dict[str, Any] | None = None,
        children: Mapping[str, int] | None = None,
        records: dict[str, dict[str, Any]] | None = None,
        earlier: Mapping[str, Path] | None = None,
    ) -> None:
        self.job_id = "00000000-0000-7000-8000-000000000000"
        self.tenant = "acme"
        self.attempt = 1
        self.folder = folder
        self.restored = restored
        self.children = children
        self.progressed: list[tuple[int, int, str]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.records = {} if records is None else records
        self._earlier = earlier or {}
        self._sources = sources or {}
        self._cancel_after = cancel_after
        self._artifacts: dict[str, Artifact] = {}

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Remember how far the work is."""
        self.progressed.append((done, total, message))

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Remember what the next attempt is to be given."""
        self.checkpoints.append(storable.checkpoint(state))

    async def record(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember entries; give the same dictionary to the next attempt."""
        self.records |= storable.records(entries)

    async def recorded(self) -> dict[str, dict[str, Any]]:
        """Return all entries."""
        return dict(self.records)

    async def fetch_artifact(
        self, job_id: UUID, name: str, path: Path, *, sha256: str | None = None
    ) -> Artifact:
        """Copy a file that the test gave as `job_id/name`."""
        given = self._earlier.get(f"{job_id}/{name}")
        if given is None:
            raise PermanentError("artifact_missing", f"job {job_id} has no artifact {name!r}")
        shutil.copyfile(given, path)
        size, digest = _measure(path)
        if sha256 not in {None, digest}:
            raise PermanentError("artifact_differs", f"artifact {name!r} is another one")
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Artifact(name=name, media_type=media_type, bytes=size, sha256=digest)

    def log(self, message: str, **data: Any) -> None:
        """Remember a line."""
        self.logged.append((message, data))

    def submit(
        self,
        job_type: str,
        parameters: Mapping[str, Any],
        *,
        priority: Priority | None = None,
        order_key: str | None = None,
        limit_key: str | None = None,
    ) -> UUID:
        """Remember a child."""
        self.submitted.append((job_type, dict(parameters)))
        return uuid7()

    @property
    def cancelled(self) -> bool:
        """Whether as many steps of progress were made as the test allows."""
        return self._cancel_after is not None and len(self.progressed) >= self._cancel_after

    @asynccontextmanager
    async def artifact(self, name: str, *, media_type: str) -> AsyncGenerator[FolderArtifact]:
        """Write to a hidden file, which gets its name when the block ends without an error."""
        file = FolderArtifact(path=self.folder / f".{name}")
        try:
            yield file
            with file.path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
            self._artifacts[name] = Artifact(
                name=name,
                media_type=media_type,
                bytes=file.path.stat().st_size,
                sha256=digest,
                rows=file.rows,
                pages=file.pages,
            )
            shutil.move(file.path, self.folder / name)
        finally:
            file.path.unlink(missing_ok=True)

    def artifacts(self) -> tuple[Artifact, ...]:
        """List the finished artifacts."""
        return tuple(self._artifacts.values())

    @asynccontextmanager
    async def source(self, name: str) -> AsyncGenerator[TableSource]:
        """Open a source of the test."""
        if name not in self._sources:
            raise SourceError("source_unknown", f"no data source {name!r} is configured")
        yield self._sources[name]
