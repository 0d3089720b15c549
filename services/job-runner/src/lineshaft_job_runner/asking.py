"""What an attempt asks of the engine and waits for: durable records, and earlier artifacts."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeVar
from uuid import UUID

from lineshaft_job_runner.job import ClaimedJob, StoredArtifact
from lineshaft_job_runner.job_type import RetryableError

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
