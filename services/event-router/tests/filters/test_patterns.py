"""Payload patterns: every condition, arrays, choices, and the pairs of event-ruler's oracle."""

import json
from pathlib import Path
from typing import Any

import pytest
from lineshaft_event_router.filters.patterns import (
    PatternError,
    matches_of,
    matches_of_payload,
    read_pattern,
)

PAIRS = (
    Path(__file__).resolve().parents[5] / "shared" / "references" / "event-ruler" / "pairs.json"
)
PART = {
    "name": "Press 7",
    "lot": "L-42",
    "severity": 700,
    "share": 0.5,
    "good": {"value": "12.50", "uom": "pcs"},
    "host": "10.1.2.3",
    "done": True,
    "none": None,
    "tags": ["hot", "new"],
    "empty": [],
    "uses": [{"lot": "A", "use": "consumed"}, {"lot": "B", "use": "produced", "late": True}],
}


def matches(pattern: dict[str, Any], payload: Any = PART) -> bool:
    group = read_pattern(pattern)
    found = matches_of_payload(group)(payload)
    assert matches_of(group)(payload) is found
    return found


@pytest.mark.skipif(not PAIRS.exists(), reason="the pairs are not at hand")
def test_every_pair_agrees_with_the_oracle_of_event_ruler() -> None:
    pairs = json.loads(PAIRS.read_text(encoding="utf-8"))
    wrong = [one["name"] for one in pairs if matches(one["rule"], one["event"]) != one["expected"]]
    assert pairs
    assert wrong == []


@pytest.mark.parametrize(
    "pattern",
    [
        {"lot": ["L-42"]},
        {"lot": ["x", "L-42"]},
        {"severity": [700]},
        {"severity": [700.0]},
        {"done": [True]},
        {"none": [None]},
        {"name": [{"prefix": "Press"}]},
        {"name": [{"prefix": {"equals-ignore-case": "pRESS"}}]},
        {"name": [{"suffix": " 7"}]},
        {"name": [{"suffix": {"equals-ignore-case": "SS 7"}}]},
        {"name": [{"equals-ignore-case": "PRESS 7"}]},
        {"name": [{"wildcard": "P*s*7"}]},
        {"name": [{"anything-but": "Press 8"}]},
        {"name": [{"anything-but": ["Press 8", "Press 9"]}]},
        {"name": [{"anything-but": {"prefix": "Saw"}}]},
        {"name": [{"anything-but": {"suffix": ["8", "9"]}}]},
        {"name": [{"anything-but": {"equals-ignore-case": "SAW"}}]},
        {"name": [{"anything-but": {"wildcard": "*8"}}]},
        {"severity": [{"anything-but": [1, 2]}]},
        {"severity": [{"anything-but": "700"}]},
        {"severity": [{"numeric": [">", 699, "<=", 700]}]},
        {"severity": [{"numeric": ["=", 7e2]}]},
        {"share": [{"numeric": ["<", 1]}]},
        {"good": {"value": [{"decimal": [">=", "12.5"]}]}},
        {"good": {"value": [{"decimal": ["=", "12.5"]}]}},
        {"good": {"value": [{"decimal": [">", 12, "<", "13"]}]}},
        {"host": [{"cidr": "10.1.0.0/16"}]},
        {"lot": [{"exists": True}], "missing": [{"exists": False}]},
        {"good": [{"exists": False}]},
        {"empty": [{"exists": False}]},
        {"missing": {"deeper": [{"exists": False}]}},
        {"tags": ["new"]},
        {"tags": [{"anything-but": "hot"}]},
        {"uses": {"lot": ["B"], "use": ["produced"]}},
        {"uses": {"lot": ["A"], "late": [{"exists": False}]}},
        {"$or": [{"lot": ["x"]}, {"severity": [700]}]},
        {"lot": ["L-42"], "uses": {"$or": [{"lot": ["C"]}, {"lot": ["B"], "late": [True]}]}},
    ],
)
def test_a_pattern_matches(pattern: dict[str, Any]) -> None:
    assert matches(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        {"lot": ["l-42"]},
        {"severity": ["700"]},
        {"severity": [True]},
        {"done": [1]},
        {"done": [{"numeric": ["=", 1]}]},
        {"none": ["None"]},
        {"missing": [None]},
        {"missing": [{"anything-but": "x"}]},
        {"name": [{"anything-but": {"prefix": ["Saw", "Press"]}}]},
        {"severity": [{"prefix": "7"}]},
        {"lot": [{"numeric": [">", 0]}]},
        {"severity": [{"numeric": [">", 700]}]},
        {"good": {"value": [{"numeric": [">", 0]}]}},
        {"good": {"value": [{"decimal": [">", "12.5"]}]}},
        {"lot": [{"decimal": [">", "0"]}]},
        {"host": [{"cidr": "10.2.0.0/16"}]},
        {"lot": [{"cidr": "::/0"}]},
        {"good": [{"exists": True}]},
        {"tags": ["old"]},
        {"uses": {"lot": ["A"], "use": ["produced"]}},
        {"uses": {"late": [{"exists": False}]}},
        {"$or": [{"lot": ["x"]}, {"severity": [7]}]},
        {"lot": {"inner": ["x"]}},
    ],
)
def test_a_pattern_does_not_match(pattern: dict[str, Any]) -> None:
    assert not matches(pattern)


@pytest.mark.parametrize("payload", [None, 5, "text", [], [1, [2]], {}])
def test_a_payload_that_is_no_object_has_no_fields(payload: Any) -> None:
    assert not matches({"lot": [{"exists": True}]}, payload)
    assert matches({"lot": [{"exists": False}]}, payload)


REFUSED: list[Any] = [
    ({}, ()),
    ({"a": "x"}, ("a",)),
    ({"a": []}, ("a",)),
    ({"a": {}}, ("a",)),
    ({"a": [{}]}, ("a", 0)),
    ({"a": ["x", {"like": "y"}]}, ("a", 1)),
    ({"a": [["x"]]}, ("a", 0)),
    ({"a": [{"prefix": "x", "suffix": "y"}]}, ("a", 0)),
    ({"a": [{"prefix": ""}]}, ("a", 0)),
    ({"a": [{"exists": "yes"}]}, ("a", 0)),
    ({"a": [{"numeric": [">"]}]}, ("a", 0)),
    ({"a": [{"numeric": [">", "1"]}]}, ("a", 0)),
    ({"a": [{"numeric": [">", True]}]}, ("a", 0)),
    ({"a": [{"numeric": [">=x", 1]}]}, ("a", 0)),
    ({"a": [{"numeric": [">", 5, "<", 1]}]}, ("a", 0)),
    ({"a": [{"numeric": [">", 5, ">", 1]}]}, ("a", 0)),
    ({"a": [{"decimal": [">", "1e5"]}]}, ("a", 0)),
    ({"a": [{"decimal": [">", 0.1]}]}, ("a", 0)),
    ({"a": [{"cidr": "10.0.0.0/99"}]}, ("a", 0)),
    ({"a": [{"wildcard": "a**b"}]}, ("a", 0)),
    ({"a": [{"wildcard": "a\\b"}]}, ("a", 0)),
    ({"a": [{"anything-but": []}]}, ("a", 0)),
    ({"a": [{"anything-but": ["x", 1]}]}, ("a", 0)),
    ({"a": [{"anything-but": {"numeric": [">", 1]}}]}, ("a", 0)),
    ({"a": [float("inf")]}, ("a", 0)),
    ({"$or": [{"a": ["x"]}]}, ("$or",)),
    ({"$or": {"a": ["x"]}}, ("$or",)),
    ({"a": {"$or": [{"b": ["x"]}, {"c": "y"}]}}, ("a", "$or", 1, "c")),
    ({"a": {"b": ["x"]}, "$or": [{"a": {"c": ["y"]}}, {"d": ["z"]}]}, ()),
]


@pytest.mark.parametrize(("pattern", "location"), REFUSED)
def test_a_pattern_that_is_not_valid_is_refused_with_its_place(
    pattern: dict[str, Any], location: tuple[Any, ...]
) -> None:
    with pytest.raises(PatternError) as refused:
        read_pattern(pattern)
    assert [one.location for one in refused.value.problems] == [location]
