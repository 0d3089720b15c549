"""When a schedule fires: a pure function of the schedule and the rules of its zone."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import takewhile
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Kept since 2021 by the makers of Healthchecks, who run on it; typed, no dependencies, and it
# walks naive wall time, so that what a change of clocks means is decided here.
from cronsim import CronSim, CronSimError
from lineshaft_contracts.job_schedules import JobSchedule, OnGap, OnOverlap
from lineshaft_contracts.problems import FieldProblem

HORIZON_YEARS = 50
"""A cron expression that matches nothing for so long never fires: the gap between two 29ths of
February on one day of the week is 40 years at most."""

FIELDS = ("minute", "hour", "day of month", "month", "day of week")
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


class UnusableClockError(Exception):
    """A schedule that cannot be followed; `problem` points at the field that is why."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.problem = FieldProblem(pointer=f"/{field}", code=code, message=message)


def check(schedule: JobSchedule, *, now: datetime) -> None:
    """Raise UnusableClockError when the schedule can never fire, whenever it was to begin."""
    if schedule.cron is None:
        return
    start = max(schedule.starts_at or now, now)
    unending = schedule.model_copy(update={"starts_at": None, "ends_at": None})
    if next_fire(unending, after=start, made_at=start) is None:
        raise UnusableClockError(
            "cron", "never_fires", f"matches no time within {HORIZON_YEARS} years"
        )


def fires(schedule: JobSchedule, *, after: datetime, made_at: datetime) -> Iterator[datetime]:
    """Yield the fires after an instant, in order, in UTC, strictly increasing."""
    fire = next_fire(schedule, after=after, made_at=made_at)
    while fire is not None:
        yield fire
        fire = next_fire(schedule, after=fire, made_at=made_at)


def latest_fires(
    schedule: JobSchedule, *, after: datetime, until: datetime, made_at: datetime, count: int
) -> list[datetime]:
    """Return the last `count` fires in (after, until], in order.

    Looks back from `until` over longer and longer spans, so that a day of fires every second
    costs no more than the last of them.
    """
    span = timedelta(minutes=2)
    while True:
        start = max(after, until - span)
        passed = fires(schedule, after=start, made_at=made_at)
        found = deque(takewhile(lambda fire: fire <= until, passed), maxlen=count)
        if len(found) == count or start == after:
            return list(found)
        span *= 4


def next_fire(schedule: JobSchedule, *, after: datetime, made_at: datetime) -> datetime | None:
    """Return the first fire after an instant, or None when nothing follows.

    `made_at` is where `every_seconds` is counted from without `starts_at`. Raises
    UnusableClockError when the expression cannot be read or the zone is not known.
    """
    anchor = schedule.starts_at
    try:
        if anchor is not None and anchor > after:
            after = anchor - TICK
        if schedule.cron is not None:
            fire = _cron_fire(schedule, schedule.cron, after)
        else:
            fire = _interval_fire(schedule, anchor or made_at.replace(microsecond=0), after)
    except OverflowError:  # The end of the calendar, in the year 9999.
        return None
    if fire is None or (schedule.ends_at is not None and fire >= schedule.ends_at):
        return None
    return fire


def _interval_fire(schedule: JobSchedule, anchor: datetime, after: datetime) -> datetime:
    every = timedelta(seconds=schedule.every_seconds or 1)
    return anchor + ((after - anchor) // every + 1) * every


def _cron_fire(schedule: JobSchedule, cron: str, after: datetime) -> datetime | None:
    """Walk the wall times of the expression until no later one can give an earlier instant.

    The first instant of each wall time never decreases along the walk; only the second one, of a
    time that comes twice, may be later than what follows it.
    """
    zone = zone_of(schedule.zone)
    here = after.astimezone(zone)
    # From the later offset of the two when the hour comes twice: it shows the earlier wall time.
    start = after.replace(tzinfo=None) + _offset(here.replace(fold=1))
    best: datetime | None = None
    for wall in walls(cron, min(start, here.replace(tzinfo=None))):
        first, instants = _instants(wall, zone, schedule)
        if best is not None and first >= best:
            return best
        later = [instant for instant in instants if instant > after]
        if later:
            best = min(later) if best is None else min(best, *later)
            if first >= best:
                return best
        if wall.year > here.year + HORIZON_YEARS:
            break
    return best


def walls(cron: str, start: datetime) -> Iterator[datetime]:
    """Yield the naive wall times after `start` that a five-field expression matches."""
    if len(cron.split()) != len(FIELDS):
        raise UnusableClockError("cron", "not_cron", f"has to have five fields: {_FIELDS_TEXT}")
    try:
        return CronSim(cron, start)
    except CronSimError as error:
        raise UnusableClockError("cron", "not_cron", _explained(str(error))) from None


_FIELDS_TEXT = ", ".join(FIELDS)


def _explained(error: str) -> str:
    if error == "Bad day-of-month":
        return "the day of month cannot be read, or no month has that day"
    return f"the field {error.removeprefix('Bad ')} cannot be read"


def _instants(
    wall: datetime, zone: ZoneInfo, schedule: JobSchedule
) -> tuple[datetime, tuple[datetime, ...]]:
    """Return the earliest instant of a wall time in a zone, and those at which to fire."""
    first = wall.replace(tzinfo=zone, fold=0)
    second = wall.replace(tzinfo=zone, fold=1)
    at_first, at_second = first.astimezone(UTC), second.astimezone(UTC)
    if at_first == at_second:
        return at_first, (at_first,)
    if at_first > at_second:  # The clock jumps over it: the first offset is too small by then.
        end = _change_between(at_second, at_first, zone)
        return end, (end,) if schedule.on_gap is OnGap.NEXT else ()
    match schedule.on_overlap:
        case OnOverlap.FIRST:
            return at_first, (at_first,)
        case OnOverlap.SECOND:
            return at_first, (at_second,)
        case OnOverlap.BOTH:
            return at_first, (at_first, at_second)


def _change_between(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first instant, by bisection to the second, at which the offset has changed."""
    offset = _offset(before.astimezone(zone))
    while after - before > SECOND:
        middle = before + timedelta(seconds=(after - before) // SECOND // 2)
        if _offset(middle.astimezone(zone)) == offset:
            before = middle
        else:
            after = middle
    return after


def _offset(moment: datetime) -> timedelta:
    return moment.utcoffset() or timedelta(0)


@cache
def _names() -> frozenset[str]:
    return frozenset(files("tzdata").joinpath("zones").read_text(encoding="utf-8").split())


def zone_of(name: str) -> ZoneInfo:
    """Return an IANA zone; files of the machine that are no zones of everybody are not found."""
    try:
        if name in _names():
            return ZoneInfo(name)
    except (ZoneInfoNotFoundError, OSError):
        pass  # Listed, but without its rules.
    raise UnusableClockError("zone", "unknown_zone", "is no IANA time zone that is known here")
