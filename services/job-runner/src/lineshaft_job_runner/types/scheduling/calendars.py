"""Shifts on a wall clock, with breaks, holidays and exceptions, as working time in ticks."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from lineshaft_contracts.scheduling_plant import Calendar, Shift, minutes_of_day

from lineshaft_job_runner.types.scheduling.windows import Span, Windows

DAY = timedelta(days=1)


class Clock:
    """Counts instants in ticks since the start of the horizon."""

    def __init__(self, start: datetime, tick_seconds: int) -> None:
        self.start = start
        self.tick_seconds = tick_seconds

    def ticks_up(self, moment: datetime) -> int:
        """Return the first tick at or after a moment."""
        return -(-self._microseconds(moment) // (self.tick_seconds * 1_000_000))

    def ticks_down(self, moment: datetime) -> int:
        """Return the last tick at or before a moment."""
        return self._microseconds(moment) // (self.tick_seconds * 1_000_000)

    def moment(self, tick: int) -> datetime:
        """Return the instant of a tick, in UTC."""
        return self.start + timedelta(seconds=tick * self.tick_seconds)

    def _microseconds(self, moment: datetime) -> int:
        return (moment - self.start) // timedelta(microseconds=1)


def working_time(calendar: Calendar, *, zone: str, clock: Clock, horizon: int) -> Windows:
    """Return when a calendar is at work within the horizon.

    `zone` is the IANA zone for a calendar without one. A shift is as long as its wall clock says:
    in the night in which clocks go forward a shift from 22:00 to 06:00 has seven hours.
    """
    local = ZoneInfo(calendar.timezone or zone)
    first = clock.start.astimezone(local).date() - 2 * DAY
    last = clock.moment(horizon).astimezone(local).date() + DAY
    whole = Span(0, horizon)
    spans = (
        span
        for day, shifts in _days(calendar, first, last)
        for shift in shifts
        for span in _spans(shift, day, local, clock)
    )
    return Windows(Span(max(span.start, whole.start), min(span.end, whole.end)) for span in spans)


def _days(calendar: Calendar, first: date, last: date) -> Iterator[tuple[date, Sequence[Shift]]]:
    exceptions = {exception.date: exception.shifts for exception in calendar.exceptions}
    holidays = frozenset(calendar.holidays)
    day = first
    while day <= last:
        if day in exceptions:
            yield day, exceptions[day]
        elif day not in holidays:
            yield day, [s for s in calendar.shifts if day.isoweekday() in s.weekdays]
        day += DAY


def _spans(shift: Shift, day: date, zone: ZoneInfo, clock: Clock) -> Iterable[Span]:
    """Return the working spans of one shift that begins on `day`."""
    whole = _between(shift.start, shift.end, day, zone, clock)
    starts = minutes_of_day(shift.start)
    pauses = [
        _between(
            pause.start,
            pause.end,
            day if minutes_of_day(pause.start) >= starts else day + DAY,
            zone,
            clock,
        )
        for pause in shift.breaks
    ]
    return Windows([whole]).without(pauses).spans


def _between(start: str, end: str, day: date, zone: ZoneInfo, clock: Clock) -> Span:
    last = day if minutes_of_day(end) > minutes_of_day(start) else day + DAY
    return Span(
        clock.ticks_up(instant(day, start, zone)), clock.ticks_down(instant(last, end, zone))
    )


def instant(day: date, at: str, zone: ZoneInfo) -> datetime:
    """Return the instant at which a wall clock shows a time, in UTC.

    A time that comes twice is its first occurrence; one that is left out, because the clocks go
    forward over it, is the instant at which they do.
    """
    wall = datetime.combine(day, time.fromisoformat(at), zone)
    found = wall.astimezone(UTC)
    if found.astimezone(zone).replace(tzinfo=None) == wall.replace(tzinfo=None):
        return found
    early, late = wall.replace(fold=1).astimezone(UTC), found
    before = early.astimezone(zone).utcoffset()
    while late - early > timedelta(seconds=1):
        middle = early + (late - early) // 2
        if middle.astimezone(zone).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)
