"""What a job type is: parameters in, result out, and the limits it runs under."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar
from uuid import UUID

from lineshaft_contracts.envelope import Priority
from lineshaft_contracts.jobs import Artifact
from pydantic import BaseModel

from lineshaft_job_runner.job_data import (
    Bucket,
    ColumnType,
    Copy,
    Endpoint,
    Folder,
    Rows,
    Source,
    Target,
)

__all__ = [
    "ArtifactFile",
    "Bucket",
    "ColumnType",
    "Copy",
    "Endpoint",
    "Folder",
    "Isolation",
    "JobContext",
    "JobStoppedError",
    "JobType",
    "PermanentError",
    "RetryableError",
    "Rows",
    "SnoozeError",
    "Source",
    "Target",
    "WaitForChildrenError",
]

SNOOZE_SECONDS_MAX = 30 * 86_400.0


class Isolation(StrEnum):
    """Where a job runs: inside the runner's event loop, or in a child that can be killed."""

    LOOP = "loop"
    PROCESS = "process"


class PermanentError(Exception):
    """The job can never succeed as it was submitted; it is not tried again.

    `code` is stable and machine-readable; the message says what to do about it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RetryableError(Exception):
    """This attempt failed for a reason that may pass."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class JobStoppedError(Exception):
    """The attempt ended early because its context was cancelled.

    Raise it only when `context.cancelled` is set: the job is then cancelled, or given back without
    using up the attempt. Raised unasked it is a failure like any other exception.
    """


class SnoozeError(Exception):
    """The work cannot be done yet: run the job again in `seconds`, at most 30 days.

    The attempt does not count. Its checkpoint is kept, jobs that it submitted are not.
    """

    def __init__(self, seconds: float, reason: str = "") -> None:
        if not 0 <= seconds <= SNOOZE_SECONDS_MAX:
            raise ValueError(f"a job snoozes for 0 to {SNOOZE_SECONDS_MAX:g} s, not {seconds}")
        super().__init__(reason)
        self.seconds = float(seconds)
        self.reason = reason


class WaitForChildrenError(Exception):
    """Go on when all jobs that this one submitted have ended; the attempt does not count.

    The job runs again from the start, with their number by state in `context.children`, and with
    its checkpoint in `context.restored`.
    """


class ArtifactFile(Protocol):
    """An artifact being written; set `rows` or `pages` before the block ends."""

    path: Path
    """A file in a private temporary folder: write the content here."""
    rows: int | None
    pages: int | None


class JobContext(Protocol):
    """What a running attempt may ask of its runner."""

    job_id: str
    tenant: str
    attempt: int

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say how far the work is; cheap, throttled by the runner."""
        ...

    @property
    def cancelled(self) -> bool:
        """Whether somebody asked to stop; long loops look, the rest is killed after grace."""
        ...

    def artifact(self, name: str, *, media_type: str) -> AbstractAsyncContextManager[ArtifactFile]:
        """Open an artifact; it is stored when the block ends without an error."""
        ...

    def artifacts(self) -> tuple[Artifact, ...]:
        """List the artifacts stored so far by this attempt."""
        ...

    def source(self, name: str) -> AbstractAsyncContextManager[Source]:
        """Open a named data source for reading, as configured for this tenant."""
        ...

    def target(self, name: str) -> AbstractAsyncContextManager[Target]:
        """Open a named data source for writing, with the role that the sources file has for it."""
        ...

    def endpoint(self, name: str) -> Endpoint:
        """Find an HTTP service by the name of its data source."""
        ...

    def folder(self, name: str) -> Folder:
        """Find a folder by the name of its data source."""
        ...

    def bucket(self, name: str) -> Bucket:
        """Find a part of an object store by the name of its data source."""
        ...

    def checkpoint(self, state: Mapping[str, Any]) -> None:
        """Keep how far the work is for the next attempt; the latest counts.

        `state` is JSON of at most 64 KiB, taken as it is now. It outlives this process once it
        was passed on, within a second; give it after each effect that must not be repeated.
        """
        ...

    async def record(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep entries by key for all attempts of the job; they are durable when this returns.

        For effects that must not be repeated: record the intent before, the outcome after. Up to
        400 entries, stored together, and each replaces the one with its key: keys of 1 to 320
        characters, values of JSON of at most 2 KiB. Raises RetryableError when the lease is lost
        or the engine does not answer; nothing may be done then.
        """
        ...

    async def recorded(self) -> dict[str, dict[str, Any]]:
        """Return everything that the attempts of this job recorded, by key."""
        ...

    async def fetch_artifact(
        self, job_id: UUID, name: str, path: Path, *, sha256: str | None = None
    ) -> Artifact:
        """Copy an artifact of a job of this tenant that succeeded into a file.

        The content is compared with its digest, and that with `sha256` (hexadecimal) when given.
        Raises PermanentError `artifact_missing` or `artifact_differs`.
        """
        ...

    @property
    def restored(self) -> dict[str, Any] | None:
        """What the last checkpoint of an earlier attempt kept; None when there is none."""
        ...

    def log(self, message: str, **data: Any) -> None:
        """Write a line of the runner's log, with the job's id, type, attempt and trace.

        Bounded: 100 lines at once and 10 a second after that (the next line says how many were
        left out), messages of 1,000 characters, 20 values of 500 characters.
        """
        ...

    def submit(
        self,
        job_type: str,
        parameters: Mapping[str, Any],
        *,
        priority: Priority | None = None,
        order_key: str | None = None,
        limit_key: str | None = None,
    ) -> UUID:
        """Submit a job of the same tenant as a child of this one; returns its id.

        It exists together with the end of this attempt: when that succeeds, or raises
        WaitForChildrenError. Any other end stores none. Up to 10,000 in an attempt, and 32 MiB of
        parameters; priority None is that of this job. Raises PermanentError `child_refused`.
        """
        ...

    @property
    def children(self) -> Mapping[str, int] | None:
        """How many jobs that earlier attempts submitted are in which state; None without any."""
        ...


Parameters = TypeVar("Parameters", bound=BaseModel)
Result = TypeVar("Result", bound=BaseModel)


class JobType(ABC, Generic[Parameters, Result]):
    """Subclass it, set the class variables, write `run`, and register it as an entry point."""

    name: ClassVar[str]
    """noun.verb, for example report.generate."""
    title: ClassVar[str]
    parameters: type[Parameters]
    result: type[Result]
    example: ClassVar[Mapping[str, Any]]
    isolation: ClassVar[Isolation] = Isolation.PROCESS
    timeout_seconds: ClassVar[float] = 300.0
    attempts_max: ClassVar[int] = 3
    memory_bytes_max: ClassVar[int | None] = 1024**3
    """Of the child process and all it started; not watched in the loop."""
    retry_first_seconds: ClassVar[float] = 1.0
    retry_factor: ClassVar[float] = 3.0
    retry_seconds_max: ClassVar[float] = 600.0
    retry_jitter: ClassVar[float] = 1.0
    """Share of each wait that is random; 1 is full jitter."""

    @abstractmethod
    async def run(self, context: JobContext, parameters: Parameters) -> Result:
        """Do the work; raise PermanentError or RetryableError to say what a failure means."""
