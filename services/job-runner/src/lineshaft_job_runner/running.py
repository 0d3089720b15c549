"""An attempt under way, as its runner sees it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lineshaft_contracts.jobs import JobError, Progress

from lineshaft_job_runner import job_log, storable
from lineshaft_job_runner.execution import Stoppable
from lineshaft_job_runner.job import ClaimedJob, NewJob, Outcome, ProgressUpdate, Verdict
from lineshaft_job_runner.job_type import Isolation

NO_PROGRESS = Progress()


@dataclass(kw_only=True, eq=False, slots=True)
class Running:
    """One attempt and what became known about it so far; the listener of its execution.

    The event loop writes it. The thread of the heartbeats reads `progress` and `checkpoint`, which
    are replaced and never changed, and writes what it has told of them.
    """

    job: ClaimedJob
    isolation: Isolation
    execution: Stoppable | None = None
    task: asyncio.Task[None] | None = None
    progress: Progress = NO_PROGRESS
    checkpoint: dict[str, Any] | None = None
    submitted: list[NewJob] = field(default_factory=list[NewJob])
    told_progress: Progress = NO_PROGRESS
    told_checkpoint: dict[str, Any] | None = None
    beaten_at: float = field(default_factory=time.monotonic)
    """When the lease was extended last, by this process's monotonic clock."""
    stop_for: Verdict | None = None
    """Why it was asked to stop; None when nobody asked."""
    expired: JobError | None = None
    """Which of its times it used up; `stop_for` is FAILED then."""
    lost: bool = False
    """Whether its lease is somebody else's by now."""
    outcome: Outcome | None = None
    """How it ended; it keeps its lease until that is stored."""

    def on_progress(self, progress: Progress) -> None:
        """Keep what the job said last, as far as it can be stored."""
        self.progress = storable.progress(progress)

    def on_checkpoint(self, state: dict[str, Any]) -> None:
        """Keep what the next attempt is to be given."""
        self.checkpoint = state

    def on_log(self, message: str, data: Mapping[str, Any]) -> None:
        """Write a line of the job."""
        job_log.write(self.job, message, data)

    def on_submitted(self, child: NewJob) -> None:
        """Keep a job until the attempt has ended."""
        self.submitted.append(child)

    @property
    def has_news(self) -> bool:
        """Whether something is not told to the store yet."""
        return (
            self.progress is not self.told_progress or self.checkpoint is not self.told_checkpoint
        )

    @property
    def update(self) -> ProgressUpdate:
        """What the store is to know by now."""
        progress, checkpoint = self.progress, self.checkpoint
        return ProgressUpdate(
            job=self.job,
            progress=progress,
            moved=progress is not self.told_progress,
            checkpoint=None if checkpoint is self.told_checkpoint else checkpoint,
        )

    def told(self, update: ProgressUpdate, *, at: float) -> None:
        """Take note that the store knows it, and extended the lease."""
        self.told_progress = update.progress
        if update.checkpoint is not None:
            self.told_checkpoint = update.checkpoint
        self.beaten_at = at

    @property
    def kept_checkpoint(self) -> dict[str, Any] | None:
        """What its end has to bring along; None when the store has it."""
        return None if self.checkpoint is self.told_checkpoint else self.checkpoint

    def stop(self, verdict: Verdict) -> None:
        """Ask it to stop; the first reason stands."""
        if self.stop_for is None and self.outcome is None:
            self.stop_for = verdict
            if self.execution is not None:
                self.execution.stop()

    def expire(self, error: JobError) -> None:
        """End it at once, as a failure, unless it is being stopped already."""
        if self.stop_for is None and self.outcome is None:
            self.stop_for = Verdict.FAILED
            self.expired = error
            if self.execution is not None:
                self.execution.kill()
