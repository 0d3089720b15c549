"""Running jobs inside the runner's event loop: for short work that mostly waits."""

import asyncio
from collections.abc import Callable
from typing import Any

from lineshaft_common.objects import Objects

from lineshaft_job_runner.context import AttemptContext, OpenSource
from lineshaft_job_runner.execution import (
    AttemptError,
    OnProgress,
    StoppedError,
    Success,
    job_error,
)
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import JobStoppedError, JobType


class _LoopExecution:
    def __init__(
        self,
        job: ClaimedJob,
        job_type: JobType[Any, Any],
        context: AttemptContext,
        *,
        grace_seconds: float,
    ) -> None:
        self._job = job
        self._job_type = job_type
        self._context = context
        self._grace_seconds = grace_seconds
        self._task: asyncio.Task[Any] | None = None

    async def run(self) -> Success:
        if self._context.cancelled:
            raise StoppedError
        try:
            parameters = self._job_type.parameters.model_validate(self._job.parameters)
            self._task = asyncio.ensure_future(self._job_type.run(self._context, parameters))
            result = (await self._task).model_dump(mode="json")
        except asyncio.CancelledError as error:
            self._stop_task()
            if self._context.cancelled:
                raise StoppedError from None
            if _is_being_cancelled():
                raise
            raise AttemptError(job_error(error)) from error
        except JobStoppedError as error:
            if self._context.cancelled:
                raise StoppedError from None
            raise AttemptError(job_error(error)) from error
        except Exception as error:
            raise AttemptError(job_error(error)) from error
        return Success(result=result, artifacts=tuple(self._context.stored))

    def _stop_task(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def stop(self) -> None:
        self._context.cancel()
        if self._task is not None:
            asyncio.get_running_loop().call_later(self._grace_seconds, self._task.cancel)


def _is_being_cancelled() -> bool:
    """Whether somebody cancels us; otherwise the job itself raised CancelledError."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


class LoopExecutor:
    """See `Executor`."""

    def __init__(
        self,
        *,
        places: int,
        objects: Objects,
        open_source: Callable[[str], OpenSource],
        grace_seconds: float,
    ) -> None:
        self.places = places
        self._objects = objects
        self._open_source = open_source
        self._grace_seconds = grace_seconds

    def start(
        self, job: ClaimedJob, job_type: JobType[Any, Any], on_progress: OnProgress
    ) -> _LoopExecution:
        """See `Executor.start`."""
        context = AttemptContext(
            job,
            objects=self._objects,
            open_source=self._open_source(job.tenant),
            on_progress=on_progress,
        )
        return _LoopExecution(job, job_type, context, grace_seconds=self._grace_seconds)
