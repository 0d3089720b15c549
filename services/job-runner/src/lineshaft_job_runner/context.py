"""The context that a running job sees, wherever it runs."""

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

from lineshaft_common.objects import Objects
from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import Artifact, Progress

from lineshaft_job_runner import storable
from lineshaft_job_runner.asking import Engine, Recorder, patiently
from lineshaft_job_runner.child_jobs import ChildJobs, Types
from lineshaft_job_runner.execution import Listener, object_key
from lineshaft_job_runner.job import ClaimedJob, StoredArtifact
from lineshaft_job_runner.job_data import Bucket, Endpoint, Folder, Source, Target
from lineshaft_job_runner.job_log import BoundedLog
from lineshaft_job_runner.job_type import ArtifactFile, PermanentError
from lineshaft_job_runner.source_access import DataAccess

ARTIFACTS_MAX = 100
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")  # Of the contracts' ArtifactName.


class _File:
    """An artifact being written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: int | None = None
        self.pages: int | None = None


class AttemptContext:
    """See `JobContext`."""

    def __init__(
        self,
        job: ClaimedJob,
        *,
        objects: Objects,
        data: DataAccess,
        types: Types,
        listener: Listener,
        engine: Engine,
    ) -> None:
        self.job_id = str(job.id)
        self.tenant = job.tenant
        self.attempt = job.attempt
        self.stored: list[StoredArtifact] = []
        self._job = job
        self._objects = objects
        self._data = data
        self._types = types
        self._listener = listener
        self._engine = engine
        self._recorder = Recorder(engine, job)
        self._cancelled = False
        self._log: BoundedLog | None = None
        self._child_jobs: ChildJobs | None = None

    def cancel(self) -> None:
        """Let the job see that it should stop."""
        self._cancelled = True

    @property
    def cancelled(self) -> bool:
        """See `JobContext.cancelled`."""
        return self._cancelled

    def progress(self, done: int, total: int, message: str = "") -> None:
        """See `JobContext.progress`."""
        message = storable.text(message)[:200]
        self._listener.on_progress(Progress(done=done, total=total, message=message))

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """See `JobContext.checkpoint`."""
        try:
            kept = storable.checkpoint(state)
        except storable.UnstorableError as error:
            raise PermanentError(error.error.code, error.error.message) from error
        self._listener.on_checkpoint(kept)

    async def record(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """See `JobContext.record`."""
        try:
            kept = storable.records(entries)
        except storable.UnstorableError as error:
            raise PermanentError(error.error.code, error.error.message) from error
        if kept:
            await self._recorder.record(kept)

    async def recorded(self) -> dict[str, dict[str, Any]]:
        """See `JobContext.recorded`."""
        found: dict[str, dict[str, Any]] = {}
        after = ""
        while True:
            page = await patiently(partial(self._engine.recorded, self._job, after=after))
            found |= page
            if len(page) < storable.RECORDS_AT_ONCE:
                return found
            after = max(page)

    async def fetch_artifact(
        self, job_id: UUID, name: str, path: Path, *, sha256: str | None = None
    ) -> Artifact:
        """See `JobContext.fetch_artifact`."""
        find = partial(self._engine.find_artifact, self._job, job_id, name)
        stored = await patiently(find)
        if stored is None:
            raise PermanentError(
                "artifact_missing",
                f"job {job_id} has not succeeded with an artifact {name[:128]!r}",
            )
        with path.open("wb") as file:
            async for part in self._objects.read(stored.object_key, 0, stored.artifact.bytes):
                file.write(part)
        _size, digest = await asyncio.to_thread(_measure, path)
        if digest != stored.artifact.sha256 or sha256 not in {None, digest}:
            raise PermanentError(
                "artifact_differs", f"artifact {name!r} has the SHA-256 {digest}, not the promised"
            )
        return stored.artifact

    @property
    def restored(self) -> dict[str, Any] | None:
        """See `JobContext.restored`."""
        return self._job.checkpoint

    @property
    def children(self) -> Mapping[str, int] | None:
        """See `JobContext.children`."""
        return self._job.children

    def log(self, message: str, **data: Any) -> None:
        """See `JobContext.log`."""
        if self._log is None:
            self._log = BoundedLog(self._listener.on_log)
        self._log.write(message, data)

    def submit(
        self,
        job_type: str,
        parameters: Mapping[str, Any],
        *,
        priority: Priority | None = None,
        order_key: str | None = None,
        limit_key: str | None = None,
    ) -> UUID:
        """See `JobContext.submit`."""
        if self._child_jobs is None:
            self._child_jobs = ChildJobs(self._job, self._types)
        child = self._child_jobs.add(
            job_type, parameters, priority=priority, order_key=order_key, limit_key=limit_key
        )
        self._listener.on_submitted(child)
        return child.id

    def artifacts(self) -> tuple[Artifact, ...]:
        """See `JobContext.artifacts`."""
        return tuple(stored.artifact for stored in self.stored)

    def source(self, name: str) -> AbstractAsyncContextManager[Source]:
        """See `JobContext.source`."""
        return self._data.source(name, tenant=self.tenant)

    def target(self, name: str) -> AbstractAsyncContextManager[Target]:
        """See `JobContext.target`."""
        return self._data.target(name, tenant=self.tenant)

    def endpoint(self, name: str) -> Endpoint:
        """See `JobContext.endpoint`."""
        return self._data.endpoint(name, tenant=self.tenant)

    def folder(self, name: str) -> Folder:
        """See `JobContext.folder`."""
        return self._data.folder(name, tenant=self.tenant)

    def bucket(self, name: str) -> Bucket:
        """See `JobContext.bucket`."""
        return self._data.bucket(name, tenant=self.tenant)

    @asynccontextmanager
    async def artifact(self, name: str, *, media_type: str) -> AsyncGenerator[ArtifactFile]:
        """See `JobContext.artifact`."""
        if not _NAME.fullmatch(name):
            raise PermanentError(
                "artifact_refused", f"artifact name {name[:200]!r} is not allowed"
            )
        if len(self.stored) >= ARTIFACTS_MAX or any(s.artifact.name == name for s in self.stored):
            raise PermanentError("artifact_refused", f"artifact {name!r} is there, or is too many")
        with tempfile.TemporaryDirectory(prefix="lineshaft-") as folder:
            file = _File(Path(folder) / "artifact")
            yield file
            size, digest = await asyncio.to_thread(_measure, file.path)
            key = object_key(self._job, name)
            await self._objects.put_file(key, file.path)
        artifact = Artifact(
            name=name,
            media_type=media_type,
            bytes=size,
            sha256=digest,
            rows=file.rows,
            pages=file.pages,
        )
        self.stored.append(StoredArtifact(artifact=artifact, object_key=key))


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as content:
        return path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest()
