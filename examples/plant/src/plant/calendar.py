"""When the plant works: shifts of eight hours, around the clock."""

from dataclasses import dataclass
from datetime import datetime, time, timedelta

SHIFT = timedelta(hours=8)
SHORTEST = timedelta(seconds=1)
FIRST_SHIFT = time(hour=6)
HISTORY_DAYS = 7


@dataclass(frozen=True)
class Shift:
    """From `start` up to, not including, `end`."""

    start: datetime
    end: datetime


def next_shift(last_end: datetime, now: datetime) -> Shift:
    """Return the shift that ends now: eight hours, or what has passed since the last one.

    Shifts never overlap, so the state of the equipment never jumps back in time.
    """
    start = max(last_end, now - SHIFT)
    return Shift(start, max(now, start + SHORTEST))


def past_shifts(now: datetime) -> list[Shift]:
    """Return three shifts a day for a week, oldest first; the last eight hours stay free."""
    free = now - SHIFT
    end = free.replace(hour=FIRST_SHIFT.hour, minute=0, second=0, microsecond=0)
    end = end if end <= free else end - timedelta(days=1)
    starts = [end - SHIFT * number for number in range(HISTORY_DAYS * 3, 0, -1)]
    return [Shift(start, start + SHIFT) for start in starts]
