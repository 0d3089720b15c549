"""Cache-Control and its targeted relatives."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.directives import (
    SECONDS_MAX,
    parse_cache_control,
    parse_surrogate_control,
    parse_targeted,
)


def test_names_are_case_insensitive() -> None:
    assert "no-store" in parse_cache_control(["No-StOrE"])


def test_lines_are_combined() -> None:
    directives = parse_cache_control(["public", "max-age=5"])
    assert "public" in directives
    assert directives.seconds("max-age") == 5


def test_a_quoted_string_hides_what_is_in_it() -> None:
    directives = parse_cache_control(['extension="max-age=3600, no-store", max-age=1'])
    assert directives.seconds("max-age") == 1
    assert "no-store" not in directives


def test_an_unclosed_quote_hides_nothing() -> None:
    assert "no-store" in parse_cache_control(['a="b, no-store'])


@pytest.mark.parametrize("value", ["-1", "3600.0", "a", "'3600'", "", " 5", "1e3", "٣"])
def test_a_time_that_cannot_be_read_is_zero(value: str) -> None:
    assert parse_cache_control([f"max-age={value}"]).seconds("max-age") == 0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("5", 5),
        ('"5"', 5),
        ("003600", 3600),
        ("2147483648", SECONDS_MAX),
        ("9" * 400, SECONDS_MAX),
    ],
)
def test_a_time_is_bounded(value: str, seconds: int) -> None:
    assert parse_cache_control([f"max-age={value}"]).seconds("max-age") == seconds


def test_a_space_before_the_equals_sign_makes_it_no_time() -> None:
    assert parse_cache_control(["max-age =3600"]).seconds("max-age") == 0


def test_of_repeated_times_the_first_counts() -> None:
    assert parse_cache_control(["max-age=1, max-age=1800"]).seconds("max-age") == 1


def test_an_absent_time_is_none() -> None:
    assert parse_cache_control(["public"]).seconds("max-age") is None


def test_the_qualified_form_names_fields() -> None:
    directives = parse_cache_control(['no-cache="Set-Cookie, a"'])
    assert directives.field_names("no-cache") == {"set-cookie", "a"}
    assert not directives.is_bare("no-cache")


def test_the_bare_form_wins_over_the_qualified_one() -> None:
    assert parse_cache_control(['no-cache="a", no-cache']).is_bare("no-cache")


@given(st.text(max_size=200))
def test_no_input_breaks_the_parsers(text: str) -> None:
    parse_cache_control([text])
    parse_targeted([text])
    parse_surrogate_control([text], name="lineshaft")


@given(st.text(alphabet=st.characters(exclude_characters='"'), max_size=50))
def test_no_store_is_seen_whatever_surrounds_it(noise: str) -> None:
    assert "no-store" in parse_cache_control([f"{noise}, no-store, {noise}"])


def test_a_targeted_field_is_a_structured_dictionary() -> None:
    directives = parse_targeted(['max-age=60;x=1, must-revalidate, ext=?0, a="b", c=tok'])
    assert directives is not None
    assert directives.seconds("max-age") == 60
    assert directives.is_bare("must-revalidate")
    assert "ext" not in directives


@pytest.mark.parametrize("line", ["", "max-age=", "Max-Age=5", "max-age=5,", "=5", "a b", 'a="'])
def test_a_malformed_targeted_field_is_ignored_as_a_whole(line: str) -> None:
    assert parse_targeted([line]) is None


@pytest.mark.parametrize("line", ['max-age="60"', "max-age=60.5", "max-age=-1", "max-age=tok"])
def test_a_targeted_time_of_the_wrong_type_is_left_out(line: str) -> None:
    directives = parse_targeted([line])
    assert directives is not None
    assert "max-age" not in directives


def test_of_repeated_targeted_members_the_last_counts() -> None:
    directives = parse_targeted(["max-age=1, max-age=9"])
    assert directives is not None
    assert directives.seconds("max-age") == 9


def test_surrogate_control_may_be_aimed_at_another_device() -> None:
    assert parse_surrogate_control(["max-age=60;other"], name="lineshaft") is None


def test_surrogate_control_aimed_here_counts_first() -> None:
    directives = parse_surrogate_control(["max-age=1, max-age=60;lineshaft"], name="lineshaft")
    assert directives is not None
    assert directives.seconds("max-age") == 60
