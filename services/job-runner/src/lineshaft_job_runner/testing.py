"""Runs a job type in a test: real files in a folder, rows from memory, no server."""

import hashlib
import mimetypes
import shutil
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from lineshaft_contracts.envelope import Priority, uuid7
from lineshaft_contracts.jobs import Artifact

from lineshaft_job_runner import storable
from lineshaft_job_runner.job_data import Bucket, Endpoint, Folder, Source, Target
from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.sources import SourceError
from lineshaft_job_runner.testing_tables import Table, TableCopy, TableRows, TableSource

__all__ = [
    "FolderArtifact",
    "FolderContext",
    "Table",
    "TableCopy",
    "TableRows",
    "TableSource",
]

T = TypeVar("T")


@dataclass(kw_only=True)
class FolderArtifact:
    """An artifact that is being written to a folder."""

    path: Path
    rows: int | None = None
    pages: int | None = None


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as content:
        return path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()


class FolderContext:
    """The context of one attempt; `folder` holds its finished artifacts."""

    def __init__(
        self,
        folder: Path,
        *,
        sources: Mapping[str, Source] | None = None,
        targets: Mapping[str, Target] | None = None,
        endpoints: Mapping[str, Endpoint] | None = None,
        folders: Mapping[str, Folder] | None = None,
        buckets: Mapping[str, Bucket] | None = None,
        cancel_after: int | None = None,
        restored: dict[str, Any] | None = None,
        children: Mapping[str, int] | None = None,
        records: dict[str, dict[str, Any]] | None = None,
        earlier: Mapping[str, Path] | None = None,
    ) -> None:
        self.job_id = "00000000-0000-7000-8000-000000000000"
        self.tenant = "acme"
        self.attempt = 1
        self._place = folder
        self.restored = restored
        self.children = children
        self.progressed: list[tuple[int, int, str]] = []
        self.checkpoints: list[dict[str, Any]] = []
        self.logged: list[tuple[str, dict[str, Any]]] = []
        self.submitted: list[tuple[str, dict[str, Any]]] = []
        self.records = {} if records is None else records
        self._earlier = earlier or {}
        self._sources = sources or {}
        self._targets = targets or {}
        self._endpoints = endpoints or {}
        self._folders = folders or {}
        self._buckets = buckets or {}
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
        file = FolderArtifact(path=self._place / f".{name}")
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
            shutil.move(file.path, self._place / name)
        finally:
            file.path.unlink(missing_ok=True)

    def artifacts(self) -> tuple[Artifact, ...]:
        """List the finished artifacts."""
        return tuple(self._artifacts.values())

    @asynccontextmanager
    async def source(self, name: str) -> AsyncGenerator[Source]:
        """Open a source of the test."""
        yield _found(self._sources, name)

    @asynccontextmanager
    async def target(self, name: str) -> AsyncGenerator[Target]:
        """Open a target of the test."""
        yield _found(self._targets, name)

    def endpoint(self, name: str) -> Endpoint:
        """Find a service of the test."""
        return _found(self._endpoints, name)

    def folder(self, name: str) -> Folder:
        """Find a folder of the test."""
        return _found(self._folders, name)

    def bucket(self, name: str) -> Bucket:
        """Find an object store of the test."""
        return _found(self._buckets, name)


def _found(given: Mapping[str, T], name: str) -> T:
    if name not in given:
        raise SourceError("source_unknown", f"no data source {name!r} is configured")
    return given[name]
