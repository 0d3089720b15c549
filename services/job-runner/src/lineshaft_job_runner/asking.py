"""What an attempt asks of the engine and waits for: durable records, and earlier artifacts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import UUID

from lineshaft_job_runner.job import ClaimedJob, StoredArtifact
from lineshaft_job_runner.job_type import RetryableError
from lineshaft_job_runner.storable import RECORDS_AT_ONCE

PATIENCE_SECONDS = 15.0
RETRY_SECONDS = 0.25

Answered = TypeVar("Answered")


class EngineAwayError(Exception):
    """The engine, or its database, does not answer now; whether it did it is not known."""


class Engine(Protocol):
    """The engine as an attempt sees it, wherever it runs. Each call may be repeated."""

    async def record(self, job: ClaimedJob, entries: Mapping[str, dict[str, Any]]) -> bool:
        """Commit up to 400 entries together; False when the lease is lost."""
        ...

    async def recorded(self, job: ClaimedJob, *, after: str) -> dict[str, dict[str, Any]]:
        """Return the next 400 entries in the order of keys."""
        ...

    async def find_artifact(
        self, job: ClaimedJob, job_id: UUID, name: str
    ) -> StoredArtifact | None:
        """Find an artifact of an ended job of the same tenant."""
        ...


async def patiently(ask: Callable[[], Awaitable[Answered]]) -> Answered:
    """Ask until there is an answer; RetryableError `engine_unavailable` when it takes too long."""
    gives_up = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except EngineAwayError as error:
            if time.monotonic() > gives_up:
                raise RetryableError(
                    "engine_unavailable", f"the job-runner's database does not answer: {error}"
                ) from error
            await asyncio.sleep(RETRY_SECONDS)


class _Batch:
    """Entries that are committed together."""

    def __init__(self) -> None:
        self.entries: dict[str, dict[str, Any]] = {}
        self.ended = False
        self.error: BaseException | None = None


class Recorder:
    """Commits what a job records; what it records meanwhile goes into one commit after that.

    A job with several effects at a time waits for about as many commits as one after the other.
    """

    def __init__(self, engine: Engine, job: ClaimedJob) -> None:
        self._engine = engine
        self._job = job
        self._turn = asyncio.Lock()
        self._open = _Batch()

    async def record(self, entries: Mapping[str, dict[str, Any]]) -> None:
        """Return when the entries are durable; see `JobContext.record`."""
        if len(self._open.entries.keys() | entries.keys()) > RECORDS_AT_ONCE:
            self._open = _Batch()  # The full one has who commits it.
        batch = self._open
        batch.entries |= entries
        async with self._turn:
            if not batch.ended:
                await self._commit(batch)
        if batch.error is not None:
            code = getattr(batch.error, "code", "engine_unavailable")
            raise RetryableError(code, str(batch.error)) from batch.error

    async def _commit(self, batch: _Batch) -> None:
        batch.ended = True
        if self._open is batch:
            self._open = _Batch()
        try:
            if not await patiently(lambda: self._engine.record(self._job, batch.entries)):
                batch.error = RetryableError(
                    "lease_lost", "another worker has taken this job over"
                )
        except BaseException as error:
            batch.error = error
            raise
