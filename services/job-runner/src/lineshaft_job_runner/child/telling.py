"""What an attempt says on its way, told to the runner over the pipe."""

from collections.abc import Callable, Mapping
from typing import Any

from lineshaft_contracts.jobs import Progress

from lineshaft_job_runner import storable
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.child.throttle import Throttle
from lineshaft_job_runner.job import NewJob

CHECKPOINTS_AT_ONCE = 20
"""A job that keeps one now and then has each of them passed on before it goes on."""


class Telling:
    """See `Listener`."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write
        self._progress = Throttle[Progress](lambda moved: write(frames.progress(moved)))
        self._checkpoint = Throttle[dict[str, Any]](
            lambda state: write(frames.checkpoint(state)), at_once=CHECKPOINTS_AT_ONCE
        )

    def on_progress(self, progress: Progress) -> None:
        """See `Listener.on_progress`."""
        self._progress(storable.progress(progress))

    def on_checkpoint(self, state: dict[str, Any]) -> None:
        """See `Listener.on_checkpoint`."""
        self._checkpoint(state)

    def on_log(self, message: str, data: Mapping[str, Any]) -> None:
        """See `Listener.on_log`."""
        self._write(frames.log_line(message, data))

    def on_submitted(self, child: NewJob) -> None:
        """See `Listener.on_submitted`."""
        self._write(frames.submitted(child))

    def flush(self) -> None:
        """Tell what waits."""
        self._progress.flush()
        self._checkpoint.flush()
