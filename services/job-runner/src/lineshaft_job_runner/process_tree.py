"""A process with all that it started: its memory, and its end."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
ROUNDS_MAX = 20
ROUND_SECONDS = 0.001


def descendants(pid: int) -> list[int]:
    """List what a process started, and what that started; without those that have ended."""
    found: list[int] = []
    level = list(_children(pid))
    while level:
        found += level
        level = [child for parent in level for child in _children(parent)]
    return found


def resident_bytes(pid: int, *, whole_tree: bool) -> int:
    """Memory that a process really holds, or it and its descendants; 0 when it is gone.

    Pages that they share count for each of them.
    """
    members = (pid, *descendants(pid)) if whole_tree else (pid,)
    return sum(_resident_bytes(member) for member in members)


def kill(pid: int) -> None:
    """Kill a process that leads its group, and everything that it started.

    The process is stopped first, so that it starts nothing more while its descendants are killed:
    those of its group, and those that left the group. It adopts orphans, see
    `child/parent_death.py`, so a descendant stays one.
    """
    _signal(pid, signal.SIGSTOP)
    for _ in range(ROUNDS_MAX):  # Until none was started meanwhile.
        alive = descendants(pid)
        if not alive:
            break
        for descendant in alive:
            _signal(descendant, signal.SIGKILL)
        time.sleep(ROUND_SECONDS)  # What they had started becomes ours once they are gone.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def _children(pid: int) -> Iterator[int]:
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except OSError:
        return
    for thread in threads:
        try:
            children = (thread / "children").read_text().split()
        except OSError:
            continue
        for child in map(int, children):
            if not _has_ended(child):
                yield child


def _has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (OSError, IndexError):
        return True


def _resident_bytes(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_BYTES
    except (OSError, IndexError):
        return 0


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
