"""Ending with the runner, so that no child works on a job that others will run."""

import ctypes
import os
import signal
import sys
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(parent: int) -> None:
    """Ask the kernel for SIGKILL when the parent ends, and to go first when memory runs out."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # It ended before the kernel knew.
        sys.exit(1)
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        return  # Not on this system; the runner watches the memory anyway.


def adopt_orphans() -> None:
    """Stay an ancestor of what a job starts, also when it is left behind on purpose."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1)
