"""Telling news often enough for people, and seldom enough for the pipe."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

from lineshaft_job_runner.job_log import Allowance

PER_SECOND = 10.0

News = TypeVar("News")


class Throttle(Generic[News]):
    """Passes on `at_once` values and PER_SECOND a second after that; the last always, at `flush`.

    It asks the clock as well as the loop: a job that computes without a pause is told about too.
    """

    def __init__(self, send: Callable[[News], None], *, at_once: int = 1) -> None:
        self._send = send
        self._allowance = Allowance(at_once, PER_SECOND)
        self._waiting: list[News] = []  # The latest, or nothing.
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, news: News) -> None:
        """Send it now, or when its time comes unless a later one has taken its place."""
        self._waiting = [news]
        if self._allowance.take():
            self.flush()
        elif self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(1 / PER_SECOND, self.flush)

    def flush(self) -> None:
        """Send what waits; nothing follows by itself."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiting:
            self._send(self._waiting.pop())
