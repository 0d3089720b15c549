"""Keeps requests within a rate, and apart when the service asks for it."""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

LOOK_SECONDS = 0.1
"""How often a pause looks whether the job was cancelled."""
RETRY_AFTER_SECONDS_MAX = 300.0
FIRST_SECONDS = 0.5
SECONDS_MAX = 30.0


class Pace:
    """Gives each request its time; all wait when the service asked for a pause."""

    def __init__(
        self,
        context: JobContext,
        per_second: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._context = context
        self._interval = 1 / per_second
        self._clock = clock
        self._next = 0.0
        self._not_before = 0.0

    async def turn(self) -> None:
        """Wait for the next free time."""
        now = self._clock()
        at = max(now, self._next)
        self._next = at + self._interval
        await self.pause(at - now)
        while (wait := self._not_before - self._clock()) > 0:
            await self.pause(wait)

    async def pause(self, seconds: float) -> None:
        """Sleep, but raise JobStoppedError soon after the job was cancelled."""
        until = self._clock() + seconds
        stop_if_cancelled(self._context)
        while (left := until - self._clock()) > 0:
            await asyncio.sleep(min(left, LOOK_SECONDS))
            stop_if_cancelled(self._context)

    def hold(self, seconds: float) -> None:
        """Send nothing more for so long."""
        self._not_before = max(self._not_before, self._clock() + seconds)


def back_off(tried: int) -> float:
    """Return the seconds before the next try: doubled each time, half of them at random."""
    whole = min(FIRST_SECONDS * 2 ** (tried - 1), SECONDS_MAX)
    return whole * (0.5 + random.random() / 2)


def retry_after(value: str | None) -> float | None:
    """Read the header as seconds or as a date (RFC 9110); at most five minutes count."""
    if value is None:
        return None
    try:
        seconds = float(int(value))
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        seconds = (moment - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), RETRY_AFTER_SECONDS_MAX)
