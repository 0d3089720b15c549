"""An attempt under way, as its runner sees it."""

import asyncio
import time
from dataclasses import dataclass, field

from lineshaft_contracts.jobs import Progress

from lineshaft_job_runner import storable
from lineshaft_job_runner.execution import Execution
from lineshaft_job_runner.job import ClaimedJob, Verdict
from lineshaft_job_runner.job_type import Isolation


@dataclass(kw_only=True)
class Running:
    """One attempt and what became known about it so far."""

    job: ClaimedJob
    isolation: Isolation
    execution: Execution
    task: asyncio.Task[None] | None = None
    progress: Progress = field(default_factory=Progress)
    moved: bool = False
    beaten_at: float = field(default_factory=time.monotonic)
    stop_for: Verdict | None = None
    """Why it was asked to stop; None when nobody asked."""
    lost: bool = False
    """Whether its lease is somebody else's by now."""

    def on_progress(self, progress: Progress) -> None:
        """Keep what the job said last, as far as it can be stored."""
        self.progress = storable.progress(progress)
        self.moved = True

    def stop(self, verdict: Verdict) -> None:
        """Ask it to stop; the first reason stands."""
        if self.stop_for is None:
            self.stop_for = verdict
            self.execution.stop()
