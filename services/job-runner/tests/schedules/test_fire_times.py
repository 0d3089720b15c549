"""When schedules fire: known answers, and what holds for every expression and zone."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.job_schedules import JobSchedule, OnGap, OnOverlap
from lineshaft_job_runner.schedules import clock
from lineshaft_job_runner.schedules.clock import UnusableClockError

ZONES = (
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",  # Half an hour.
    "America/Sao_Paulo",  # Changed at midnight, then gave it up.
    "Asia/Kolkata",
    "Pacific/Apia",  # Left out the 30th of December 2011.
    "Africa/Casablanca",  # Turns back for Ramadan.
)
MADE_AT = datetime(2020, 1, 1, tzinfo=UTC)


def schedule(**fields: Any) -> JobSchedule:
    return JobSchedule(job_type="trial.work", **fields)


def first(count: int, after: str, made_at: datetime = MADE_AT, **fields: Any) -> list[str]:
    """The fires after a time in UTC, as minutes in the schedule's zone with their offset."""
    wanted = schedule(**fields)
    found = clock.fires(wanted, after=at(after), made_at=made_at)
    zone = ZoneInfo(wanted.zone)
    return [
        fire.astimezone(zone).isoformat(timespec="minutes")[5:] for fire in islice(found, count)
    ]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("fields", "after", "fires"),
    [
        ({"cron": "30 6 * * *"}, "2026-11-25T06:30", ["11-26T06:30+00:00", "11-27T06:30+00:00"]),
        ({"cron": "30 6 * * *"}, "2026-11-25T06:29:59.9", ["11-25T06:30+00:00"]),
        ({"cron": "0 6,14,22 * * MON-FRI"}, "2026-11-27T14:00", ["11-27T22:00+00:00"]),
        ({"cron": "0 6,14,22 * * 1-5"}, "2026-11-27T22:00", ["11-30T06:00+00:00"]),
        ({"cron": "0 0 L * *"}, "2027-02-01", ["02-28T00:00+00:00", "03-31T00:00+00:00"]),
        ({"cron": "0 0 29 2 *"}, "2026-01-01", ["02-29T00:00+00:00"]),
        ({"cron": "0 0 13 * 5"}, "2026-11-25", ["11-27T00:00+00:00", "12-04T00:00+00:00"]),
        ({"cron": "0 0 * * MON#1"}, "2026-11-25", ["12-07T00:00+00:00"]),
        ({"cron": "*/20 8 * * *", "zone": "Asia/Kolkata"}, "2026-01-01", ["01-01T08:00+05:30"]),
    ],
)
def test_a_cron_expression_fires_when_cron_would(
    fields: dict[str, Any], after: str, fires: list[str]
) -> None:
    assert first(len(fires), after, **fields) == fires


@pytest.mark.parametrize(
    ("zone", "cron", "on_gap", "after", "fires"),
    [
        # 2026-03-29, 02:00 becomes 03:00.
        ("Europe/Berlin", "30 2 * * *", "next", "2026-03-28T12:00", ["03-29T03:00+02:00"]),
        ("Europe/Berlin", "30 2 * * *", "skip", "2026-03-28T12:00", ["03-30T02:30+02:00"]),
        (
            "Europe/Berlin",
            "*/30 * * * *",
            "next",
            "2026-03-29T00:15",
            ["03-29T01:30+01:00", "03-29T03:00+02:00", "03-29T03:30+02:00"],
        ),
        # 2026-03-08, 02:00 becomes 03:00.
        ("America/New_York", "0 2 * * *", "next", "2026-03-07T12:00", ["03-08T03:00-04:00"]),
        ("America/New_York", "0 2 * * *", "skip", "2026-03-07T12:00", ["03-09T02:00-04:00"]),
        # 2026-10-04, 02:00 becomes 02:30.
        ("Australia/Lord_Howe", "15 2 * * *", "next", "2026-10-03T12:00", ["10-04T02:30+11:00"]),
        ("Australia/Lord_Howe", "15 2 * * *", "skip", "2026-10-03T12:00", ["10-05T02:15+11:00"]),
        ("Australia/Lord_Howe", "45 2 * * *", "skip", "2026-10-03T12:00", ["10-04T02:45+11:00"]),
        # 2018-11-04, 00:00 becomes 01:00.
        ("America/Sao_Paulo", "0 0 * * *", "next", "2018-11-03T12:00", ["11-04T01:00-02:00"]),
        # A whole day is left out.
        ("Pacific/Apia", "0 9 30 12 *", "next", "2011-12-01T00:00", ["12-31T00:00+14:00"]),
    ],
)
def test_a_time_that_the_clock_jumps_over(
    zone: str, cron: str, on_gap: str, after: str, fires: list[str]
) -> None:
    assert first(len(fires), after, zone=zone, cron=cron, on_gap=on_gap) == fires


@pytest.mark.parametrize(
    ("zone", "cron", "on_overlap", "after", "fires"),
    [
        # 2026-10-25, 03:00 becomes 02:00.
        (
            "Europe/Berlin",
            "30 2 * * *",
            "first",
            "2026-10-24T12:00",
            ["10-25T02:30+02:00", "10-26T02:30+01:00"],
        ),
        (
            "Europe/Berlin",
            "30 2 * * *",
            "second",
            "2026-10-24T12:00",
            ["10-25T02:30+01:00", "10-26T02:30+01:00"],
        ),
        (
            "Europe/Berlin",
            "*/30 2 * * *",
            "both",
            "2026-10-24T12:00",
            ["10-25T02:00+02:00", "10-25T02:30+02:00", "10-25T02:00+01:00", "10-25T02:30+01:00"],
        ),
        # From inside the hour that comes twice.
        ("Europe/Berlin", "0 2 * * *", "both", "2026-10-25T00:45", ["10-25T02:00+01:00"]),
        ("Europe/Berlin", "0 2 * * *", "first", "2026-10-25T00:45", ["10-26T02:00+01:00"]),
        ("Europe/Berlin", "50 2 * * *", "first", "2026-10-25T01:10", ["10-26T02:50+01:00"]),
        ("Europe/Berlin", "50 2 * * *", "second", "2026-10-25T01:10", ["10-25T02:50+01:00"]),
        # 2026-11-01, 02:00 becomes 01:00.
        (
            "America/New_York",
            "0 1 * * *",
            "both",
            "2026-10-31T12:00",
            ["11-01T01:00-04:00", "11-01T01:00-05:00", "11-02T01:00-05:00"],
        ),
        # 2026-04-05, 02:00 becomes 01:30.
        (
            "Australia/Lord_Howe",
            "*/15 1 * * *",
            "both",
            "2026-04-04T14:20",
            ["04-05T01:30+11:00", "04-05T01:45+11:00", "04-05T01:30+10:30", "04-05T01:45+10:30"],
        ),
        (
            "Australia/Lord_Howe",
            "*/15 1 * * *",
            "first",
            "2026-04-04T14:20",
            ["04-05T01:30+11:00", "04-05T01:45+11:00", "04-06T01:00+10:30"],
        ),
    ],
)
def test_a_time_that_comes_twice(
    zone: str, cron: str, on_overlap: str, after: str, fires: list[str]
) -> None:
    assert first(len(fires), after, zone=zone, cron=cron, on_overlap=on_overlap) == fires


def test_an_interval_counts_elapsed_time_from_its_start_whatever_the_clocks_do() -> None:
    start = datetime(2026, 3, 28, 23, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    day: dict[str, Any] = {"every_seconds": 86_400, "zone": "Europe/Berlin", "starts_at": start}
    fires = ["03-28T23:30+01:00", "03-30T00:30+02:00", "03-31T00:30+02:00"]
    assert first(3, "2026-01-01", **day) == fires
    wanted = schedule(every_seconds=7)
    made = at("2026-01-01T00:00:00.9")
    assert clock.next_fire(wanted, after=made, made_at=made) == at("2026-01-01T00:00:07")


def test_nothing_fires_before_the_start_nor_at_the_end() -> None:
    window = {"starts_at": at("2026-05-01T10:00"), "ends_at": at("2026-05-01T12:00")}
    hourly = schedule(cron="0 * * * *", **window)
    found = list(clock.fires(hourly, after=MADE_AT, made_at=MADE_AT))
    assert found == [at("2026-05-01T10:00"), at("2026-05-01T11:00")]
    every = schedule(every_seconds=3600, **window)
    assert list(clock.fires(every, after=MADE_AT, made_at=MADE_AT)) == found


@pytest.mark.parametrize(
    ("fields", "pointer", "code"),
    [
        ({"cron": "0 0 31 2 *"}, "/cron", "not_cron"),
        ({"cron": "0 0 */20 * 1L"}, "/cron", "never_fires"),
        (
            {"cron": "30 2 * 3 0L", "zone": "Europe/Berlin", "on_gap": "skip"},
            "/cron",
            "never_fires",
        ),
        ({"cron": "61 * * * *"}, "/cron", "not_cron"),
        ({"cron": "0 * * * * *"}, "/cron", "not_cron"),
        ({"cron": "@everyday"}, "/cron", "not_cron"),
        ({"cron": "0 0 * * *", "zone": "Mars/Olympus"}, "/zone", "unknown_zone"),
        ({"cron": "0 0 * * *", "zone": "Europe"}, "/zone", "unknown_zone"),
        ({"cron": "0 0 * * *", "zone": "right/UTC"}, "/zone", "unknown_zone"),
        ({"cron": "0 0 * * *", "zone": "../UTC"}, "/zone", "unknown_zone"),
        ({"cron": "0 0 * * *", "zone": "localtime"}, "/zone", "unknown_zone"),
    ],
)
def test_what_can_never_fire_is_a_problem_of_one_field(
    fields: dict[str, Any], pointer: str, code: str
) -> None:
    with pytest.raises(UnusableClockError) as raised:
        clock.check(schedule(**fields), now=at("2026-11-25"))
    assert (raised.value.problem.pointer, raised.value.problem.code) == (pointer, code)


def test_a_clock_may_fire_rarely_begin_late_or_have_ended() -> None:
    now = at("2026-11-25")
    clock.check(schedule(cron="0 0 * 2 MON#5"), now=now)
    clock.check(schedule(cron="0 0 1 1 *", ends_at=at("2020-01-01")), now=now)
    clock.check(schedule(cron="0 0 1 1 *", starts_at=at("2090-01-01")), now=now)
    ended = schedule(every_seconds=1, ends_at=at("2020-01-01"))
    assert clock.next_fire(ended, after=now, made_at=now) is None


def test_the_end_of_the_calendar_is_an_end() -> None:
    last = at("9999-12-31T23:59:59")
    for wanted in (schedule(cron="0 0 1 * *"), schedule(every_seconds=31_622_400)):
        assert clock.next_fire(wanted, after=last, made_at=MADE_AT) is None


def test_the_latest_of_many_fires_are_found_without_walking_through_all() -> None:
    now = at("2026-11-25T12:00:00.5")
    every_second = schedule(every_seconds=1)
    found = clock.latest_fires(every_second, after=MADE_AT, until=now, made_at=MADE_AT, count=3)
    assert [fire.second for fire in found] == [58, 59, 0]
    yearly = schedule(cron="0 0 1 1 *")
    found = clock.latest_fires(yearly, after=MADE_AT, until=now, made_at=MADE_AT, count=100)
    assert [fire.year for fire in found] == [2021, 2022, 2023, 2024, 2025, 2026]
    assert not clock.latest_fires(yearly, after=now, until=now, made_at=MADE_AT, count=100)


def field(low: int, high: int) -> st.SearchStrategy[str]:
    number = st.integers(low, high)
    span = st.tuples(number, number).map(lambda ends: f"{min(ends)}-{max(ends)}")
    step = st.integers(1, high).map(lambda n: f"*/{n}")
    one = st.one_of(number.map(str), span, step)
    return st.one_of(st.just("*"), one, st.lists(one, min_size=2, max_size=3).map(",".join))


CRONS = st.tuples(field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 7)).map(
    " ".join
)
AROUND_CHANGES = st.sampled_from(
    (
        "2026-03-08T07",
        "2026-03-29T01",
        "2026-04-04T15",
        "2026-10-03T15:30",
        "2026-10-25T01",
        "2026-11-01T06",
        "2018-11-04T03",
        "2011-12-30T10",
        "2026-02-15T02",
        "2026-03-22T02",
    )
).map(at)
ANY_TIME = st.just(at("2000-01-01"))
MOMENTS = st.one_of(
    st.tuples(AROUND_CHANGES, st.integers(-90_000, 10_000)),
    st.tuples(ANY_TIME, st.integers(0, 2_800_000_000)),
).map(lambda drawn: drawn[0] + timedelta(seconds=drawn[1]))


@settings(max_examples=200, deadline=None)
@given(
    cron=CRONS,
    zone=st.sampled_from(ZONES),
    after=MOMENTS,
    on_gap=st.sampled_from(OnGap),
    on_overlap=st.sampled_from(OnOverlap),
)
def test_fires_of_every_expression_and_zone(
    cron: str, zone: str, after: datetime, on_gap: OnGap, on_overlap: OnOverlap
) -> None:
    wanted = schedule(cron=cron, zone=zone, on_gap=on_gap, on_overlap=on_overlap)
    found = list(islice(clock.fires(wanted, after=after, made_at=MADE_AT), 20))
    assert all(earlier < later for earlier, later in pairwise([after, *found]))
    assert set(found) == expected(wanted, cron, after, found[-1] if found else after)


def expected(wanted: JobSchedule, cron: str, after: datetime, until: datetime) -> set[datetime]:
    """The same by definition: each wall time by itself, in no order."""
    zone = ZoneInfo(wanted.zone)
    slack = timedelta(hours=25)  # More than any clock was ever moved.
    fires = set[datetime]()
    for wall in CronSim(cron, after.replace(tzinfo=None) - slack):
        if wall > until.replace(tzinfo=None) + slack:
            break
        two = [wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        real = [one for one in two if one.astimezone(zone).replace(tzinfo=None) == wall]
        if not real and wanted.on_gap is OnGap.NEXT:
            moment = two[1].replace(second=0, microsecond=0)
            before = moment.astimezone(zone).utcoffset()
            while moment.astimezone(zone).utcoffset() == before:
                moment += timedelta(minutes=1)
            fires.add(moment)
        elif real:
            chosen = {"first": real[:1], "second": real[-1:], "both": real}
            fires.update(chosen[wanted.on_overlap])
    return {fire for fire in fires if after < fire <= until}


@settings(max_examples=200, deadline=None)
@given(
    every_seconds=st.integers(1, 31_622_400),
    starts_at=st.one_of(st.none(), MOMENTS),
    after=MOMENTS,
)
def test_fires_of_every_interval(
    every_seconds: int, starts_at: datetime | None, after: datetime
) -> None:
    wanted = schedule(every_seconds=every_seconds, starts_at=starts_at)
    found = list(islice(clock.fires(wanted, after=after, made_at=MADE_AT), 5))
    assert len(found) == 5
    assert found[0] > after
    assert found[0] >= (starts_at or found[0])
    assert found[0] - timedelta(seconds=every_seconds) <= max(after, starts_at or after)
    anchor = starts_at or MADE_AT
    assert all(
        (fire - anchor) % timedelta(seconds=every_seconds) == timedelta(0) for fire in found
    )
    assert {b - a for a, b in pairwise(found)} == {timedelta(seconds=every_seconds)}


@settings(max_examples=300, deadline=None)
@given(text=st.text(alphabet="0123456789*/,-#L LWMONFEB?x\x00é", min_size=9, max_size=40))
def test_no_text_is_worse_than_unreadable(text: str) -> None:
    try:
        wanted = schedule(cron=text)
        clock.check(wanted, now=MADE_AT)
    except UnusableClockError:
        return
    assert clock.next_fire(wanted, after=MADE_AT, made_at=MADE_AT) is not None
