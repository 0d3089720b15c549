"""Age and freshness lifetime by RFC 9111 section 4.2."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.directives import SECONDS_MAX, parse_cache_control
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.freshness import (
    age_value,
    explicit_lifetime,
    heuristic_lifetime,
    initial_age,
)
from lineshaft_cdn_edge.http_date import format_date, parse_date

NOW = 1_800_000_000.0
moments = st.floats(min_value=0, max_value=4e9)


def lifetime(cache_control: str, fields: dict[str, str] | None = None) -> float | None:
    return explicit_lifetime(
        parse_cache_control([cache_control]),
        Fields(fields or {}),
        date=NOW,
        now=NOW,
        targeted=False,
    )


def test_s_maxage_counts_before_max_age_before_expires() -> None:
    expires = {"Expires": format_date(NOW + 30)}
    assert lifetime("s-maxage=10, max-age=20", expires) == 10
    assert lifetime("max-age=20", expires) == 20
    assert lifetime("public", expires) == 30
    assert lifetime("public") is None


def test_an_invalid_expires_lies_in_the_past() -> None:
    assert lifetime("public", {"Expires": "0"}) == 0


def test_expires_before_date_is_stale_not_negative() -> None:
    assert lifetime("public", {"Expires": format_date(NOW - 100)}) == 0


def test_two_different_expires_are_invalid() -> None:
    fields = Fields([("Expires", format_date(NOW + 9)), ("Expires", format_date(NOW + 99))])
    directives = parse_cache_control([])
    assert explicit_lifetime(directives, fields, date=NOW, now=NOW, targeted=False) == 0


def test_with_a_targeted_field_expires_has_no_say() -> None:
    fields = Fields({"Expires": format_date(NOW + 30)})
    directives = parse_cache_control(["public"])
    assert explicit_lifetime(directives, fields, date=NOW, now=NOW, targeted=True) is None


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        ([], 0),
        (["7200"], 7200),
        (["7200, 0"], 7200),
        (["0", "7200"], 0),
        (["abc"], 0),
        (["-1"], 0),
    ],
)
def test_of_an_age_list_the_first_counts_and_nonsense_is_ignored(
    lines: list[str], seconds: int
) -> None:
    assert age_value(lines, invalid_is_stale=False) == seconds


@pytest.mark.parametrize("lines", [["abc"], ["-7200"], ["7200.0"], ["0", "0"], ["7200;a=1"]])
def test_the_cautious_reading_takes_a_doubtful_age_for_very_old(lines: list[str]) -> None:
    assert age_value(lines, invalid_is_stale=True) == SECONDS_MAX


@given(st.integers(min_value=0))
def test_an_age_is_bounded(seconds: int) -> None:
    assert 0 <= age_value([str(seconds)], invalid_is_stale=False) <= SECONDS_MAX


def test_a_date_in_the_future_makes_nothing_younger_than_new() -> None:
    age = initial_age(age_seconds=0, date=NOW + 3600, request_time=NOW, response_time=NOW)
    assert age == 0


def test_the_time_on_the_way_counts() -> None:
    age = initial_age(age_seconds=10, date=None, request_time=NOW, response_time=NOW + 3)
    assert age == 13


def test_a_slow_origin_clock_makes_it_older() -> None:
    age = initial_age(age_seconds=0, date=NOW - 50, request_time=NOW, response_time=NOW)
    assert age == 50


@given(
    age=st.integers(min_value=0, max_value=SECONDS_MAX),
    date=st.none() | moments,
    sent=moments,
    arrived=moments,
)
def test_the_initial_age_is_never_negative_and_never_less_than_the_age_received(
    age: int, date: float | None, sent: float, arrived: float
) -> None:
    result = initial_age(age_seconds=age, date=date, request_time=sent, response_time=arrived)
    assert min(age, SECONDS_MAX) <= result <= SECONDS_MAX


def test_a_heuristic_lifetime_is_a_bounded_tenth() -> None:
    def guess(modified: float) -> float:
        fields = Fields({"Last-Modified": format_date(NOW - modified)})
        return heuristic_lifetime(fields, date=NOW, now=NOW, fraction=0.1, seconds_max=86_400)

    assert guess(1000) == 100
    assert guess(1e8) == 86_400
    assert guess(-1000) == 0


@given(st.integers(min_value=0, max_value=4_000_000_000))
def test_a_written_date_reads_back(moment: int) -> None:
    assert parse_date(format_date(moment), now=NOW) == moment


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "SUN, 06 nov 1994 08:49:37 gmt",
    ],
)
def test_all_three_forms_of_a_date_are_read(text: str) -> None:
    assert parse_date(text, now=NOW) == 784_111_777


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 6 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 08.49.37 GMT",
        "Sun, 31 Feb 1994 08:49:37 GMT",
        "Sun, 06 Foo 1994 08:49:37 GMT",
        "x" * 10_000,
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_date(text, now=NOW) is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_date_parser(text: str) -> None:
    parse_date(text, now=NOW)
