"""Telling progress often enough for people, and seldom enough for the pipe."""

import asyncio
from collections.abc import Callable

from lineshaft_contracts.jobs import Progress

INTERVAL_SECONDS = 0.1


class Throttle:
    """Passes progress on at most every INTERVAL_SECONDS; the last one always, at `flush`."""

    def __init__(self, send: Callable[[Progress], None]) -> None:
        self._send = send
        self._waiting: Progress | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, progress: Progress) -> None:
        """Send it now, or when its time comes unless a later one has taken its place."""
        self._waiting = progress
        if self._timer is None:
            self._tick()

    def flush(self) -> None:
        """Send what waits; nothing follows by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting is not None:
            self._send(self._waiting)
            self._waiting = None

    def _tick(self) -> None:
        self._timer = None
        if self._waiting is None:
            return
        self.flush()
        self._timer = asyncio.get_running_loop().call_later(INTERVAL_SECONDS, self._tick)
