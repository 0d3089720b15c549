"""Processes that outlived a killed supervisor: found by its notes and by their environment."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.state import StateFile

# Every supervised process, and whatever it starts, carries the directory in its environment.
MARKER = "LINESHAFT_SUPERVISED_IN"
END_SECONDS = 5.0


def marker(directory: Path) -> dict[str, str]:
    """Return what a supervised process gets into its environment."""
    return {MARKER: str(directory.resolve())}


def find(directory: Path) -> Iterator[ProcessId]:
    """Return the running processes that belong to the local system in the directory."""
    state = StateFile(directory).read()
    if state is not None:
        for process in state.processes.values():
            if process.id is not None and process.id.is_alive():
                yield process.id
    wanted = os.fsencode(f"{MARKER}={directory.resolve()}")
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # It has ended, or is somebody else's.
            continue
        if wanted in environment.split(b"\0"):
            found = ProcessId.of(int(entry.name))
            if found is not None:
                yield found


def end(directory: Path) -> int:
    """End everything that is left of an earlier run; return how many processes that were.

    The first signal is one on which PostgreSQL takes its own children along.
    """
    ended = 0
    for number in (signal.SIGQUIT, signal.SIGKILL):
        processes = list(find(directory))
        for process in processes:
            process.send(number)
        for process in processes:
            if process.wait_gone(timeout_seconds=END_SECONDS):
                ended += 1
    return ended
