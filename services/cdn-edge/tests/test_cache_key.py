"""The cache key: one name for one resource, and never two resources under one name."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.cache_key import InvalidTargetError, KeyMaker, QueryRule, normal_path

KEYED = KeyMaker(keyed_host=True)
PLAIN = KeyMaker()
characters = st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="\\#?%")
segments = st.text(characters, max_size=8) | st.sampled_from([".", "..", "%2e", "%2E%2e", "%41"])
paths = st.lists(segments, min_size=1, max_size=6).map(lambda parts: "/" + "/".join(parts))


@pytest.mark.parametrize(
    ("target", "same"),
    [
        ("/a/./b/../c", "/a/c"),
        ("/%7Euser/%61", "/~user/a"),
        ("/a%2fb", "/a%2Fb"),
        ("/a/%2e%2e/b", "/b"),
        ("/../../a", "/a"),
        ("/a/..", "/"),
        ("http://edge.example/a?b=c", "/a?b=c"),
        ("HTTP://EDGE.example:80", "/"),
        ("/a#fragment", "/a"),
    ],
)
def test_spellings_of_one_target_share_a_key(target: str, same: str) -> None:
    assert KEYED.key(target, "edge.example") == KEYED.key(same, "edge.example")


@pytest.mark.parametrize(
    ("one", "other"),
    [("/a", "/A"), ("/a", "/a/"), ("/a%2Fb", "/a/b"), ("/a?x=1", "/a?x=2"), ("/a//b", "/a/b")],
)
def test_different_targets_have_different_keys(one: str, other: str) -> None:
    assert PLAIN.key(one, "") != PLAIN.key(other, "")


@pytest.mark.parametrize("host", ["EDGE.example", "edge.example.", "edge.example:443"])
def test_spellings_of_one_host_share_a_key(host: str) -> None:
    assert KEYED.key("/a", host) == KEYED.key("/a", "edge.example")


def test_an_absolute_target_names_the_host_itself() -> None:
    assert KEYED.key("http://edge.example/a", "attacker.example").host == "edge.example"


def test_hosts_share_a_key_when_the_origin_does_not_hear_them() -> None:
    assert PLAIN.key("/a", "one.example") == PLAIN.key("/a", "other.example")


@pytest.mark.parametrize(
    "target", ["a", "", "*", "/a b", "/a\\b", "/a\x00", "/ä", "/a%zz", "/a%4", "ftp://x/a"]
)
def test_what_is_no_target_is_refused(target: str) -> None:
    with pytest.raises(InvalidTargetError):
        PLAIN.key(target, "")


@pytest.mark.parametrize("host", ["", "a b", "a/b", "a@b", "a:b:c"])
def test_what_is_no_host_is_refused_when_it_matters(host: str) -> None:
    with pytest.raises(InvalidTargetError):
        KEYED.key("/a", host)


def test_tracking_parameters_are_neither_keyed_nor_sent() -> None:
    maker = KeyMaker(query=QueryRule(strip=("utm_*", "gclid")))
    assert maker.key("/a?b=1&utm_source=x&GCLID=2&c", "").target == "/a?b=1&c"


def test_parameters_are_sorted_only_on_request() -> None:
    assert KeyMaker(query=QueryRule(sort=True)).key("/a?b=2&a=1", "").query == "a=1&b=2"
    assert PLAIN.key("/a?b=2&a=1", "").query == "b=2&a=1"


@given(paths)
def test_normalising_twice_changes_nothing_more(path: str) -> None:
    once = normal_path(path)
    assert normal_path(once) == once


@given(paths)
def test_a_normal_path_has_no_dot_segments(path: str) -> None:
    normal = normal_path(path).split("/")
    assert "." not in normal
    assert ".." not in normal


@given(st.text(max_size=80), st.text(max_size=30))
def test_any_text_makes_a_key_or_is_refused(target: str, host: str) -> None:
    try:
        key = KEYED.key(target, host)
    except InvalidTargetError:
        return
    assert key.path.startswith("/")
    assert KEYED.key(key.target, key.host) == key
