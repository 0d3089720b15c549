"""Working time on a wall clock: shifts, breaks, holidays, and the two nights of the year."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.scheduling_plant import Calendar, Resource
from lineshaft_job_runner.types.scheduling.calendars import Clock, instant, working_time
from lineshaft_job_runner.types.scheduling.wall_clock import OpeningHours
from lineshaft_job_runner.types.scheduling.windows import Span, Windows
from pydantic import ValidationError

BERLIN = "Europe/Berlin"
NIGHT = {"start": "22:00", "end": "06:00", "weekdays": [1, 2, 3, 4, 5, 6, 7]}
DAY = {
    "start": "06:00",
    "end": "14:00",
    "weekdays": [1, 2, 3, 4, 5],
    "breaks": [{"start": "10:00", "end": "10:30"}],
}


def windows(first: str, days: int, zone: str = BERLIN, **calendar: Any) -> list[tuple[str, str]]:
    """Return the working time of some days as local times."""
    local = ZoneInfo(zone)
    start = datetime.fromisoformat(first).replace(tzinfo=local).astimezone(UTC)
    clock = Clock(start, 60)
    found = working_time(
        Calendar.model_validate({"id": "c", **calendar}),
        zone=zone,
        clock=clock,
        horizon=days * 1_440,
    )
    shown = [
        [f"{clock.moment(tick).astimezone(local):%d. %H:%M}" for tick in span]
        for span in found.spans
    ]
    return [(begin, end) for begin, end in shown]


def test_lunch_divides_a_shift() -> None:
    assert windows("2026-11-23", 2, shifts=[DAY]) == [
        ("23. 06:00", "23. 10:00"),
        ("23. 10:30", "23. 14:00"),
        ("24. 06:00", "24. 10:00"),
        ("24. 10:30", "24. 14:00"),
    ]


def test_weekends_holidays_and_exceptions() -> None:
    found = windows(
        "2026-11-26",
        6,
        shifts=[DAY],
        holidays=["2026-11-30", "2026-11-26"],
        exceptions=[
            {"date": "2026-11-28", "shifts": [{"start": "08:00", "end": "09:00"}]},
            {"date": "2026-11-30", "shifts": [{"start": "12:00", "end": "13:00"}]},
            {"date": "2026-12-01"},
        ],
    )
    assert found == [
        ("27. 06:00", "27. 10:00"),
        ("27. 10:30", "27. 14:00"),
        ("28. 08:00", "28. 09:00"),
        ("30. 12:00", "30. 13:00"),
    ]


def test_a_night_shift_belongs_to_the_day_on_which_it_begins() -> None:
    shift = {**NIGHT, "weekdays": [5], "breaks": [{"start": "01:30", "end": "02:00"}]}
    found = windows("2026-11-27", 3, shifts=[shift], holidays=["2026-11-28"])
    assert found == [("27. 22:00", "28. 01:30"), ("28. 02:00", "28. 06:00")]


def test_a_horizon_that_begins_in_a_shift_begins_with_its_rest() -> None:
    assert windows("2026-11-24T02:00", 1, shifts=[NIGHT]) == [
        ("24. 02:00", "24. 06:00"),
        ("24. 22:00", "25. 02:00"),
    ]


@pytest.mark.parametrize(
    ("first", "hours"), [("2026-03-28T12:00", 7), ("2026-10-24T12:00", 9), ("2026-11-24T12:00", 8)]
)
def test_a_night_shift_is_as_long_as_the_wall_clock_says(first: str, hours: int) -> None:
    start = datetime.fromisoformat(first).replace(tzinfo=ZoneInfo(BERLIN)).astimezone(UTC)
    calendar = Calendar.model_validate({"id": "c", "shifts": [NIGHT]})
    found = working_time(calendar, zone=BERLIN, clock=Clock(start, 60), horizon=1_440)
    assert found.worked(1_440) == hours * 60


def test_a_time_that_is_left_out_is_when_the_clocks_go_forward() -> None:
    zone = ZoneInfo(BERLIN)
    forward = datetime(2026, 3, 29, 1, tzinfo=UTC)
    for at in ("02:00", "02:01", "02:30", "02:59", "03:00"):
        assert instant(date(2026, 3, 29), at, zone) == forward
    assert instant(date(2026, 3, 29), "01:59", zone) == forward - timedelta(minutes=1)


def test_a_time_that_comes_twice_is_its_first() -> None:
    found = instant(date(2026, 10, 25), "02:30", ZoneInfo(BERLIN))
    assert found == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)


def test_a_zone_whose_clocks_move_by_half_an_hour() -> None:
    zone = ZoneInfo("Australia/Lord_Howe")
    assert instant(date(2026, 10, 4), "02:15", zone) == instant(date(2026, 10, 4), "02:30", zone)


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        ({**DAY, "breaks": [{"start": "05:00", "end": "06:30"}]}, "not inside of the shift"),
        ({**DAY, "breaks": [{"start": "13:30", "end": "14:30"}]}, "not inside of the shift"),
        ({**DAY, "start": "24:00"}, "pattern"),
        ({**DAY, "weekdays": [0]}, "greater than or equal to 1"),
    ],
)
def test_shifts_that_make_no_sense_are_refused(shift: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Calendar.model_validate({"id": "c", "shifts": [shift]})


CLOCK_TIMES = st.integers(0, 95).map(lambda quarter: f"{quarter // 4:02}:{quarter % 4 * 15:02}")


@st.composite
def shifts(draw: st.DrawFn) -> dict[str, Any]:
    start, length = draw(st.integers(0, 95)), draw(st.integers(8, 96))
    pause = draw(st.integers(1, length - 4))
    clock = [(start + offset) % 96 for offset in (0, length, pause, pause + 2)]
    begin, end, first, last = [f"{q // 4:02}:{q % 4 * 15:02}" for q in clock]
    breaks = draw(st.sampled_from([[], [{"start": first, "end": last}]]))
    weekdays = draw(st.sets(st.integers(1, 7), min_size=1))
    return {"weekdays": weekdays, "start": begin, "end": end, "breaks": breaks}


@given(
    st.lists(shifts(), min_size=1, max_size=3),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]),
    st.sampled_from(["2026-03-06", "2026-03-27", "2026-04-03", "2026-10-02", "2026-10-23"]),
    st.booleans(),
)
@settings(max_examples=25, deadline=None)
def test_the_windows_are_what_the_clock_on_the_wall_shows(
    weekly: list[dict[str, Any]], zone: str, first: str, closed: bool
) -> None:
    # The model expands shifts into intervals, the validator looks at each minute by itself.
    day = date.fromisoformat(first)
    calendar = Calendar.model_validate(
        {
            "id": "c",
            "shifts": weekly,
            "holidays": [day + timedelta(days=1)] if closed else [],
            "exceptions": [{"date": day + timedelta(days=2), "shifts": [DAY_OFF]}]
            if closed
            else [],
        }
    )
    start, horizon = datetime.combine(day, datetime.min.time(), UTC), 3 * 1_440
    found = working_time(calendar, zone=zone, clock=Clock(start, 60), horizon=horizon)
    hours = OpeningHours(Resource(id="m", calendar="c"), calendar, zone)
    minute = int(start.timestamp()) // 60
    shown = [tick for tick in range(horizon) if hours.open_at(minute + tick)]
    assert [tick for span in found.spans for tick in range(*span)] == shown


DAY_OFF = {"start": "08:00", "end": "12:00"}
SPANS = st.lists(
    st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda s: Span(s[0], s[0] + s[1])),
    max_size=6,
)


@given(SPANS, st.integers(1, 25), st.booleans())
@settings(max_examples=150, deadline=None)
def test_variants_are_all_starts_and_how_long_the_work_then_takes(
    spans: list[Span], work: int, interruptible: bool
) -> None:
    found = Windows(spans)
    open_ticks = {tick for span in spans for tick in range(*span)}
    expected: dict[int, int] = {}
    for start in open_ticks:
        done, tick = 0, start
        while done < work and tick < 80:
            done += tick in open_ticks
            tick += 1
        if done == work and (interruptible or tick - start == work):
            expected[start] = tick - start
    variants = found.variants(work, interruptible=interruptible)
    told = {s: v.size for v in variants for span in v.starts for s in range(*span)}
    assert told == expected
    for tick in range(75):
        early = found.earliest(tick, work, interruptible=interruptible)
        late = found.latest(tick, work, interruptible=interruptible)
        after = [start for start in expected if start >= tick]
        before = [start for start, size in expected.items() if start + size <= tick]
        assert (early and early.start) == min(after, default=None)
        assert (late and late.start) == max(before, default=None)
        assert early is None or early.end - early.start == expected[early.start]
        assert late is None or late.end - late.start == expected[late.start]


@given(SPANS, SPANS, st.integers(0, 70), st.integers(0, 70))
@settings(max_examples=100, deadline=None)
def test_windows_are_sets_of_ticks(
    first: list[Span], second: list[Span], start: int, end: int
) -> None:
    one, two = Windows(first), Windows(second)
    ticks, others = ({t for span in spans for t in range(*span)} for spans in (first, second))

    def of(windows: Windows) -> set[int]:
        return {tick for span in windows.spans for tick in range(*span)}

    assert of(one) == ticks
    assert of(one.intersect(two)) == ticks & others
    assert of(one.without(second)) == ticks - others
    assert {t for span in one.cut(start, end) for t in range(*span)} == {
        t for t in ticks if start <= t < end
    }
    assert one.worked(end) == len([t for t in ticks if t < end])
