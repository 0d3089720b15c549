"""Sees from another thread that the event loop does not go on, and which job holds it up."""

import asyncio
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import structlog

from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.meters import LOOP_BLOCKED
from lineshaft_job_runner.running import Running

log = structlog.get_logger(__name__)

BLOCKED_SECONDS = 1.0
"""From then on it is told."""
REMEMBERED_SECONDS = 60.0
NAMED_MAX = 10


class LoopWatch:
    """Asks the loop a question, and looks how long the answer takes.

    Make it in the loop that is watched; `look` is for the watching thread. Code that keeps the
    interpreter's lock (a regular expression, some extension modules) stops the watch as well.
    """

    def __init__(self, running: Mapping[UUID, Running], *, interval_seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._running = running
        self._interval_seconds = interval_seconds
        self._asked_at: float | None = None
        self._answered_at: float | None = None
        self._looked_at = time.monotonic()
        self._told = False
        self._recent: deque[tuple[float, float]] = deque(maxlen=1_000)

    def look(self) -> None:
        """Look once; every `interval_seconds`."""
        now = time.monotonic()
        frozen = now - self._looked_at > self._interval_seconds + BLOCKED_SECONDS
        self._looked_at = now
        if frozen or self._asked_at is None:  # The whole process stood still, not the loop alone.
            self._ask(now)
            return
        answered_at = self._answered_at
        self._note(now, (now if answered_at is None else answered_at) - self._asked_at)
        if answered_at is not None:
            self._ask(now)

    def _ask(self, now: float) -> None:
        self._told = False
        self._asked_at, self._answered_at = now, None
        self._loop.call_soon_threadsafe(self._answer, now)

    def _answer(self, asked_at: float) -> None:
        if asked_at == self._asked_at:
            self._answered_at = time.monotonic()

    def _note(self, now: float, seconds: float) -> None:
        if self._answered_at is not None:
            self._recent.append((now, seconds))
        while self._recent and now - self._recent[0][0] > REMEMBERED_SECONDS:
            self._recent.popleft()
        LOOP_BLOCKED.set(max([seconds, *(s for _, s in self._recent)]))
        if seconds < BLOCKED_SECONDS:
            return
        if self._answered_at is not None:
            log.warning("event_loop_was_blocked", seconds=round(seconds, 3))
        elif not self._told:
            self._told = True
            log.warning("event_loop_blocked", seconds=round(seconds, 3), **self._culprit())

    def _culprit(self) -> dict[str, Any]:
        """Name the job whose task is at work, the line that it is at, and the other loop jobs."""
        task = asyncio.current_task(self._loop)
        in_loop = [r for r in running_now(self._running) if r.isolation is Isolation.LOOP]
        guilty = next((r.job for r in in_loop if task is not None and r.task is task), None)
        frame = sys._current_frames().get(self._thread)  # noqa: SLF001 - there is no other way.
        code = None if frame is None else frame.f_code
        return {
            "job_id": None if guilty is None else str(guilty.id),
            "job_type": None if guilty is None else guilty.type,
            "line": None
            if code is None or frame is None
            else f"{code.co_filename}:{frame.f_lineno}",
            "running": [f"{r.job.type} {r.job.id}" for r in in_loop[:NAMED_MAX]],
        }


def running_now(running: Mapping[UUID, Running]) -> list[Running]:
    """List what runs, for another thread: a copied dict cannot change while it is read."""
    return list(dict(running).values())
