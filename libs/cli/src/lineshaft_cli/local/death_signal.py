"""Asks the kernel to signal this process when its parent dies, even by SIGKILL (Linux)."""

import ctypes
import os
import signal

PR_SET_PDEATHSIG = 1
# Loaded here and not on use: between fork and exec a child must not load anything.
_libc = ctypes.CDLL(None, use_errno=True)


def die_with(parent: int, number: signal.Signals) -> None:
    """Have this process get the signal when `parent` dies; called by the child itself."""
    _libc.prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # It died between fork and now.
        os._exit(1)
