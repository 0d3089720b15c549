"""What comes before the work of an attempt: its parameters, when they lie in the object store."""

import asyncio
from typing import Protocol

import structlog
from lineshaft_common.objects import ObjectMissingError

from lineshaft_job_runner.execution import (
    PARAMETERS_MISSING,
    PARAMETERS_UNAVAILABLE,
    AttemptError,
)
from lineshaft_job_runner.job import ClaimedJob

log = structlog.get_logger(__name__)


class Parameters(Protocol):
    """Where large parameters lie; see large_parameters.py."""

    async def of(self, job: ClaimedJob) -> ClaimedJob:
        """Return the job with its parameters; raises ObjectMissingError."""
        ...


async def with_parameters(parameters: Parameters, job: ClaimedJob) -> ClaimedJob:
    """Return the job with its parameters; raises AttemptError."""
    try:
        return await parameters.of(job)
    except ObjectMissingError as error:
        raise AttemptError(PARAMETERS_MISSING) from error
    except Exception as error:
        log.warning("parameters_unavailable", job_id=str(job.id), error=repr(error)[:300])
        raise AttemptError(PARAMETERS_UNAVAILABLE) from error


class Loading:
    """Brings the parameters of one attempt, until it is stopped."""

    def __init__(self, parameters: Parameters, job: ClaimedJob) -> None:
        self._task = asyncio.create_task(with_parameters(parameters, job))

    async def run(self) -> ClaimedJob:
        """Return the job with its parameters; raises AttemptError, CancelledError when stopped."""
        return await self._task

    def stop(self) -> None:
        """Nothing is lost when it ends at once."""
        self._task.cancel()

    def kill(self) -> None:
        """See `stop`."""
        self._task.cancel()
