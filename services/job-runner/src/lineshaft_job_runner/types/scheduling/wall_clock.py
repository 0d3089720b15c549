"""Whether a calendar is open at an instant, told by what the clock on the wall shows then.

For the validator: it asks minute by minute and shares nothing with the windows of the model.
"""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from lineshaft_contracts.scheduling_plant import Calendar, Resource, Shift

MINUTE = timedelta(minutes=1)


class OpeningHours:
    """Minute by minute, counted from 1970 in UTC, whether a resource is at work."""

    def __init__(self, resource: Resource, calendar: Calendar | None, zone: str) -> None:
        self._calendar = calendar
        self._zone = ZoneInfo((calendar and calendar.timezone) or zone)
        self._closures = [
            (c.start.timestamp() // 60, c.end.timestamp() // 60) for c in resource.closures
        ]
        self._known: dict[int, bool] = {}

    def open_at(self, minute: int) -> bool:
        """Tell whether the resource works in the minute that begins then."""
        if minute not in self._known:
            closed = any(start <= minute < end for start, end in self._closures)
            self._known[minute] = not closed and self._in_a_shift(minute)
        return self._known[minute]

    def open_seconds(self, start: datetime, end: datetime) -> float:
        """Return the working time between two instants."""
        first, last = start.timestamp(), end.timestamp()
        return sum(
            min(last, (minute + 1) * 60) - max(first, minute * 60)
            for minute in minutes_of(start, end)
            if self.open_at(minute)
        )

    def _in_a_shift(self, minute: int) -> bool:
        if self._calendar is None:
            return True
        moment = datetime.fromtimestamp(minute * 60, UTC).astimezone(self._zone)
        shown = _shown(moment)
        for day in (shown.date(), shown.date() - timedelta(days=1)):
            for shift in _shifts_of(self._calendar, day):
                if _covers(shift.start, shift.end, day, shown) and not self._pauses(
                    shift, day, shown
                ):
                    return True
        return False

    @staticmethod
    def _pauses(shift: Shift, day: date, shown: datetime) -> bool:
        return any(
            _covers(
                pause.start,
                pause.end,
                day if pause.start >= shift.start else day + timedelta(days=1),
                shown,
            )
            for pause in shift.breaks
        )


def minutes_of(start: datetime, end: datetime) -> Iterator[int]:
    """Yield every minute that a span touches."""
    yield from range(int(start.timestamp() // 60), int(-(-end.timestamp() // 60)))


def _shifts_of(calendar: Calendar, day: date) -> tuple[Shift, ...]:
    for exception in calendar.exceptions:
        if exception.date == day:
            return exception.shifts
    if day in calendar.holidays:
        return ()
    return tuple(shift for shift in calendar.shifts if day.isoweekday() in shift.weekdays)


def _covers(start: str, end: str, day: date, shown: datetime) -> bool:
    first = datetime.fromisoformat(f"{day}T{start}")
    last = datetime.fromisoformat(f"{day}T{end}")
    if last <= first:
        last += timedelta(days=1)
    return first <= shown < last


def _shown(moment: datetime) -> datetime:
    """Return the wall clock without zone.

    An hour that comes twice is over, for shifts, at its first end: the second one counts as the
    last instant of the first.
    """
    later = moment
    while later.fold:
        later = (later.astimezone(UTC) + MINUTE).astimezone(moment.tzinfo)
    shown = later.replace(tzinfo=None, fold=0)
    return shown - timedelta(microseconds=1) if moment.fold else shown
