"""Running jobs inside the runner's event loop: for short work that mostly waits."""

import asyncio
from typing import Any

from lineshaft_common.objects import Objects

from lineshaft_job_runner.asking import Engine
from lineshaft_job_runner.child_jobs import Types
from lineshaft_job_runner.context import AttemptContext
from lineshaft_job_runner.execution import (
    AttemptError,
    Listener,
    StoppedError,
    Success,
    job_error,
)
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import (
    JobStoppedError,
    JobType,
    SnoozeError,
    WaitForChildrenError,
)
from lineshaft_job_runner.source_access import DataAccess

KILL_AGAIN_SECONDS = 1.0


class _LoopExecution:
    """See `Execution`. The job runs in the task of its attempt: another one would cost as much."""

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
        self._killing: asyncio.TimerHandle | None = None

    async def run(self) -> Success:
        context = self._context
        if context.cancelled:
            raise StoppedError
        self._task = asyncio.current_task()
        try:
            parameters = self._job_type.parameters.model_validate(self._job.parameters)
            result = (await self._job_type.run(context, parameters)).model_dump(mode="json")
        except (SnoozeError, WaitForChildrenError):
            raise
        except (asyncio.CancelledError, JobStoppedError) as error:
            if context.cancelled:
                raise StoppedError from None
            if isinstance(error, asyncio.CancelledError) and _is_being_cancelled():
                raise
            raise AttemptError(job_error(error)) from error
        except BaseException as error:  # SystemExit would end the worker with all other jobs.
            raise AttemptError(job_error(error)) from error
        finally:
            self._task = None
            if self._killing is not None:
                self._killing.cancel()
        return Success(result=result, artifacts=tuple(context.stored))

    def stop(self) -> None:
        self._context.cancel()
        if self._task is not None:
            loop = asyncio.get_running_loop()
            self._killing = loop.call_later(self._grace_seconds, self.kill)

    def kill(self) -> None:
        """Cancel the job, again and again: it may have caught it, or be about to."""
        self._context.cancel()
        if self._task is not None:
            self._task.cancel()
            loop = asyncio.get_running_loop()
            self._killing = loop.call_later(KILL_AGAIN_SECONDS, self.kill)


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
        data: DataAccess,
        types: Types,
        engine: Engine,
        grace_seconds: float,
    ) -> None:
        self.places = places
        self._engine = engine
        self._objects = objects
        self._data = data
        self._types = types
        self._grace_seconds = grace_seconds

    def start(
        self, job: ClaimedJob, job_type: JobType[Any, Any], listener: Listener
    ) -> _LoopExecution:
        """See `Executor.start`."""
        context = AttemptContext(
            job,
            objects=self._objects,
            data=self._data,
            types=self._types,
            listener=listener,
            engine=self._engine,
        )
        return _LoopExecution(job, job_type, context, grace_seconds=self._grace_seconds)
