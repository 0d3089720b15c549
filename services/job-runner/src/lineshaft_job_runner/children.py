"""Running jobs in child processes that are kept warm, watched, and killed when they must end."""

import asyncio
import time
from typing import Any, Self

from lineshaft_contracts.jobs import JobError, Progress

from lineshaft_job_runner import process_tree
from lineshaft_job_runner.asking import Engine
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.child_process import ChildProcess
from lineshaft_job_runner.child_questions import answered
from lineshaft_job_runner.execution import (
    AttemptError,
    Listener,
    StoppedError,
    Success,
    memory_limit_error,
)
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import JobType, SnoozeError, WaitForChildrenError
from lineshaft_job_runner.meters import KILLED

WATCH_SECONDS = 0.1
LOOKS_AT_ITSELF = 5
"""How often the child alone is looked at before all that it started is: that costs much more."""
JOBS_PER_CHILD = 100
OUT_OF_MEMORY = frozenset({"memory_limit", "out_of_memory"})


class _ChildExecution:
    """See `Execution`: one attempt in a child."""

    def __init__(
        self,
        pool: "ChildProcesses",
        job: ClaimedJob,
        memory_bytes_max: int | None,
        listener: Listener,
    ) -> None:
        self._pool = pool
        self._job = job
        self._memory_bytes_max = memory_bytes_max
        self._listener = listener
        self._task: asyncio.Task[Any] | None = None
        self._child: ChildProcess | None = None
        self._stopping = False
        self._looks = 0
        self._killed_for: Exception | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._killing: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Ask the child; after the grace it is killed."""
        self._stopping = True
        if self._child is not None and self._killing is None:
            self._child.writer.write(frames.write("stop"))
            self._killing = asyncio.get_running_loop().call_later(
                self._pool.grace_seconds, self._kill, "stopped", StoppedError()
            )

    def kill(self) -> None:
        """Kill the child with all that it started."""
        if self._child is None and self._task is not None:
            self._task.cancel()  # It waits for its child.
        self._kill("time", StoppedError())

    def _kill(self, reason: str, killed_for: Exception) -> None:
        """Kill; `run` sees the end of the pipe and raises what it was killed for."""
        if self._killed_for is None:
            self._killed_for = killed_for
            if self._child is not None:
                KILLED.labels(reason).inc()
                self._child.kill()

    async def run(self) -> Success:
        """Run in a child of the pool, which is kept only when it is fit for another job."""
        self._task = asyncio.current_task()
        child = await self._pool.take()
        fit = False
        try:
            if self._stopping or self._killed_for is not None:
                fit = True
                raise StoppedError
            self._child = child
            child.begin(self._job)
            self._watch()
            frame = await self._answer(child)
            fit = _leaves_it_fit(frame)
        finally:
            self._child = None
            for timer in (self._watching, self._killing):
                if timer is not None:
                    timer.cancel()
            await self._pool.give_back(child, fit=fit)
        return _success(frame)

    async def _answer(self, child: ChildProcess) -> dict[str, Any]:
        """Pass on what the child says, up to the end of the attempt or of the child."""
        while (line := await child.read()) is not None:
            frame = frames.read(line)
            match frame["kind"]:
                case "progress":
                    self._listener.on_progress(Progress.model_validate(frame["progress"]))
                case "checkpoint":
                    self._listener.on_checkpoint(frame["state"])
                case "log":
                    self._listener.on_log(frame["message"], frame["data"])
                case "submitted":
                    self._listener.on_submitted(frames.read_submitted(frame, self._job))
                case "ask":
                    child.writer.write(await answered(self._pool.engine, self._job, frame))
                case _:
                    return frame
        if self._killed_for is not None:
            raise self._killed_for
        code = await child.process.wait()
        await child.output.close()
        raise AttemptError(
            JobError(code="process_died", message=f"The job's process ended with status {code}."),
            log=child.output.tail,
        )

    def _watch(self) -> None:
        """Compare the memory with the limit again and again."""
        limit, child = self._memory_bytes_max, self._child
        if limit is None or child is None or self._killed_for is not None:
            return
        self._looks += 1
        whole_tree = self._looks % LOOKS_AT_ITSELF == 0
        if process_tree.resident_bytes(child.process.pid, whole_tree=whole_tree) > limit:
            self._kill("memory", AttemptError(memory_limit_error(limit)))
            return
        self._watching = asyncio.get_running_loop().call_later(WATCH_SECONDS, self._watch)


def _leaves_it_fit(frame: dict[str, Any]) -> bool:
    return frame["kind"] != "failed" or frame["error"]["code"] not in OUT_OF_MEMORY


def _success(frame: dict[str, Any]) -> Success:
    match frame["kind"]:
        case "succeeded":
            return Success(result=frame["result"], artifacts=frames.read_artifacts(frame))
        case "stopped":
            raise StoppedError
        case "snoozed":
            raise SnoozeError(frame["seconds"], frame["reason"])
        case "waits":
            raise WaitForChildrenError
        case _:
            raise AttemptError(JobError.model_validate(frame["error"]), log=frame["log"])


class ChildProcesses:
    """See `Executor`: up to `places` children; an idle one is kept for a while, then ended."""

    def __init__(
        self,
        *,
        places: int,
        idle_seconds: float,
        grace_seconds: float,
        object_store_url: str,
        engine: Engine,
    ) -> None:
        self.places = places
        self.engine = engine
        self._object_store_url = object_store_url
        self.grace_seconds = grace_seconds
        self._idle_seconds = idle_seconds
        self._idle: list[ChildProcess] = []
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._end_idle(), name="child-keeper")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
        for child in self._idle:
            await child.end()

    def start(
        self, job: ClaimedJob, job_type: JobType[Any, Any], listener: Listener
    ) -> _ChildExecution:
        """See `Executor.start`."""
        return _ChildExecution(self, job, job_type.memory_bytes_max, listener)

    async def take(self) -> ChildProcess:
        """Take a warm child, or start one."""
        while self._idle:
            child = self._idle.pop()
            if child.process.returncode is None:
                return child
            await child.end()
        try:
            return await ChildProcess.start(self._object_store_url)
        except (OSError, EOFError, TimeoutError) as error:
            raise AttemptError(
                JobError(code="process_not_started", message=str(error)[:300])
            ) from error

    async def give_back(self, child: ChildProcess, *, fit: bool) -> None:
        """Keep a child for the next job, or end it with all that the job left running."""
        child.jobs += 1
        fit = fit and child.jobs < JOBS_PER_CHILD and child.process.returncode is None
        if fit and not process_tree.descendants(child.process.pid):
            child.idle_since = time.monotonic()
            self._idle.append(child)
        else:
            await asyncio.shield(child.end())

    async def _end_idle(self) -> None:
        while True:
            await asyncio.sleep(max(1.0, self._idle_seconds / 4))
            oldest_allowed = time.monotonic() - self._idle_seconds
            too_old = [child for child in self._idle if child.idle_since < oldest_allowed]
            self._idle = [child for child in self._idle if child not in too_old]
            for child in too_old:
                await child.end()
