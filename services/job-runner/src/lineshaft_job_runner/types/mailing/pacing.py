"""When a mail may leave: not in quiet hours, and not more than so many in a minute."""

import asyncio
import time
from datetime import date, datetime, timedelta
from datetime import time as clock_time
from zoneinfo import ZoneInfo

from lineshaft_contracts.email import QuietHours

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

LOOK_SECONDS = 0.25


def quiet_until(quiet: QuietHours | None, zone: ZoneInfo, now: datetime) -> datetime | None:
    """Return when the quiet hours end that `now` lies in; None outside of them.

    The wall clock of the zone counts: when it jumps or goes back, so does the end.
    """
    if quiet is None:
        return None
    local = now.astimezone(zone)
    start, end = (clock_time.fromisoformat(text) for text in (quiet.start, quiet.end))
    clock = local.time().replace(tzinfo=None, fold=0)
    if start < end:
        inside, day = start <= clock < end, local.date()
    else:
        inside, day = clock >= start or clock < end, local.date()
        if clock >= start:
            day += timedelta(days=1)
    if not inside:
        return None
    return _instant(day, end, zone, after=now)


def _instant(day: date, clock: clock_time, zone: ZoneInfo, *, after: datetime) -> datetime:
    """Return the first instant after `after` at which the clock shows this time."""
    for fold in (0, 1):
        instant = datetime.combine(day, clock, zone).replace(fold=fold)
        if instant.timestamp() > after.timestamp():
            return instant
    return after + timedelta(minutes=1)


class Pace:
    """Spreads mails evenly; after a pause it makes up for nothing."""

    def __init__(self, per_minute_max: int) -> None:
        self._interval = 60.0 / per_minute_max
        self._free_at = time.monotonic()

    async def wait(self, context: JobContext) -> None:
        """Wait until the next mail may leave; JobStoppedError when the job is cancelled."""
        while (left := self._free_at - time.monotonic()) > 0:
            stop_if_cancelled(context)
            await asyncio.sleep(min(left, LOOK_SECONDS))
        self._free_at = max(self._free_at, time.monotonic() - self._interval) + self._interval
