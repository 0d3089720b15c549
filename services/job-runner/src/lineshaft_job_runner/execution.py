"""Running one attempt: what every way of running it takes and gives."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lineshaft_contracts.jobs import JobError, Progress

from lineshaft_job_runner import storable
from lineshaft_job_runner.job import ClaimedJob, NewJob, StoredArtifact
from lineshaft_job_runner.job_type import JobType, PermanentError, RetryableError

PARAMETERS_MISSING = JobError(
    code="parameters_missing",
    message="The object store does not have the parameters of the job any more.",
    retryable=False,
)
PARAMETERS_UNAVAILABLE = JobError(
    code="parameters_unavailable",
    message="The object store that has the parameters of the job does not answer.",
)


class AttemptError(Exception):
    """The attempt did not succeed."""

    def __init__(self, error: JobError, *, log: str = "") -> None:
        super().__init__(f"{error.code}: {error.message}")
        self.error = error
        self.log = log
        """Traceback, for the log of the runner alone."""


class StoppedError(Exception):
    """The attempt ended because it was asked to stop, or was killed."""


class Listener(Protocol):
    """Takes what an attempt says on its way."""

    def on_progress(self, progress: Progress) -> None:
        """Take how far it is."""
        ...

    def on_checkpoint(self, state: dict[str, Any]) -> None:
        """Take what the next attempt is to be given; it is storable."""
        ...

    def on_log(self, message: str, data: Mapping[str, Any]) -> None:
        """Take a line for the log; it is bounded."""
        ...

    def on_submitted(self, child: NewJob) -> None:
        """Take a job that is to exist once the attempt has succeeded or waits for it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Success:
    """The attempt's result and the files it made."""

    result: dict[str, Any]
    artifacts: tuple[StoredArtifact, ...]


class Stoppable(Protocol):
    """Whatever of an attempt is under way: its work, or what comes before."""

    def stop(self) -> None:
        """Ask the attempt to end early."""
        ...

    def kill(self) -> None:
        """End the attempt at once."""
        ...


class Execution(Stoppable, Protocol):
    """One attempt under way; asked to stop, it does so by itself or is killed after a grace."""

    async def run(self) -> Success:
        """Run to the end.

        Raises AttemptError, SnoozeError or WaitForChildrenError; StoppedError after `stop` or
        `kill`.
        """
        ...


class Executor(Protocol):
    """A way of running jobs, with so many places."""

    @property
    def places(self) -> int:
        """How many attempts it runs at once."""
        ...

    def start(self, job: ClaimedJob, job_type: JobType[Any, Any], listener: Listener) -> Execution:
        """Prepare an attempt; nothing happens before its `run`."""
        ...


def job_error(error: BaseException) -> JobError:
    """Say what an exception of a job means: permanent, or worth another attempt."""
    match error:
        case PermanentError():
            code, retryable = error.code, False
        case RetryableError():
            code, retryable = error.code, True
        case MemoryError():
            code, retryable = "out_of_memory", True
        case _:
            code, retryable = "unexpected_error", True
    message = str(error) if code != "unexpected_error" else f"{type(error).__name__}: {error}"
    return JobError(
        code=storable.text(str(code))[: storable.CODE_MAX],
        message=storable.text(message)[: storable.MESSAGE_MAX],
        retryable=retryable,
    )


def memory_limit_error(bytes_max: int) -> JobError:
    """Say that an attempt needed more memory than its type allows."""
    return JobError(
        code="memory_limit",
        message=f"The job needed more than its {bytes_max // 2**20} MiB and was ended.",
        retryable=False,
    )


def object_key(job: ClaimedJob, name: str) -> str:
    """Where an artifact lies: under the attempt's own token, so attempts never share a key."""
    return f"{artifacts_prefix(job.tenant, str(job.id))}{job.lease_token}/{name}"


def artifacts_prefix(tenant: str, job_id: str) -> str:
    """Where all artifacts of all attempts of a job lie."""
    return f"jobs/{tenant}/{job_id}/"
