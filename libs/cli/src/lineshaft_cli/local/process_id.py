"""A process that cannot be confused with a later one of the same number."""

import os
import signal
import time
from pathlib import Path

from pydantic import BaseModel, ConfigDict

POLL_SECONDS = 0.02


def start_ticks(pid: int) -> int | None:
    """Clock ticks between boot and the process's start; None when there is no such process.

    A zombie has ended: it only waits for its parent, so it counts as gone.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


class ProcessId(BaseModel):
    """A process number with its start time, in clock ticks since boot."""

    model_config = ConfigDict(frozen=True)

    pid: int
    start_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Return the identity of a running process, None when it has ended."""
        ticks = start_ticks(pid)
        return None if ticks is None else cls(pid=pid, start_ticks=ticks)

    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        return start_ticks(self.pid) == self.start_ticks

    def send(self, number: signal.Signals) -> None:
        """Signal this process, and nobody who got its number later."""
        if self.is_alive():
            try:
                os.kill(self.pid, number)
            except ProcessLookupError:
                return

    def wait_gone(self, *, timeout_seconds: float) -> bool:
        """Wait until the process has ended; False when the deadline came first."""
        deadline = time.monotonic() + timeout_seconds
        while self.is_alive():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS)
        return True

    def end(self, number: signal.Signals, *, grace_seconds: float) -> None:
        """Ask the process to stop, and kill it when it has not after `grace_seconds`."""
        self.send(number)
        if not self.wait_gone(timeout_seconds=grace_seconds):
            self.send(signal.SIGKILL)
            self.wait_gone(timeout_seconds=5)
