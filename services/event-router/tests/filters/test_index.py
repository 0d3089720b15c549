"""The compiled and indexed matcher finds what a plain evaluator finds."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from lineshaft_contracts.filters import FILTERS
from lineshaft_event_router.filters.cesql_tokens import CesqlSyntaxError
from lineshaft_event_router.filters.compiling import compile_filters
from lineshaft_event_router.filters.index import Selection, SubscriptionIndex
from lineshaft_event_router.filters.topics import topic_matches

from . import naive
from .random_filters import events, filters, patterns, payloads, routing_keys, selections, topics

ACME: dict[str, Any] = {
    "tenant": "acme",
    "type": "t",
    "source": "/acme/north",
    "subject": "order-1",
}


def selection(*raw: Any, **fields: Any) -> Selection:
    return Selection(filters=FILTERS.validate_python(raw), **fields)


@settings(max_examples=150)
@given(filters, events())
@example({"data": {"a": [1]}}, {"data": {"a": True}})
@example({"data": {"a": [None]}}, {"data": {"a": None}})
@example({"data": {"a": {"b": [{"exists": False}]}}}, {"data": {"a": [{"b": 1}, {}]}})
@example({"sql": "severity IN ('05')"}, {"severity": 5})
def test_a_compiled_filter_says_what_a_plain_evaluator_says(raw: Any, event: Any) -> None:
    (one,) = FILTERS.validate_python([raw])
    assert compile_filters([one])(event) is naive.holds(one, event)


@settings(max_examples=150)
@given(st.lists(selections, min_size=1, max_size=10), st.lists(st.tuples(events(), routing_keys)))
def test_the_index_finds_what_asking_each_subscription_finds(
    listed: list[Selection], happened: list[tuple[dict[str, Any], str]]
) -> None:
    index = SubscriptionIndex[int]()
    for key, one in enumerate(listed):
        index.add(key, one)
    kept = set(range(len(listed)))
    for removed in [None, *range(0, len(listed), 2)]:
        if removed is not None:
            index.remove(removed)
            kept.discard(removed)
        for event, routing_key in happened:
            found = index.match(event, routing_key)
            expected = [n for n in sorted(kept) if naive.wants(listed[n], event, routing_key)]
            assert sorted(found) == expected
    for key in kept:
        index.remove(key)
    assert index._scopes == {}
    assert len(index) == 0


@settings(max_examples=50)
@given(st.lists(selections, min_size=2, max_size=6), events(), routing_keys)
def test_a_subscription_that_is_added_again_is_replaced(
    listed: list[Selection], event: dict[str, Any], routing_key: str
) -> None:
    index = SubscriptionIndex[str]()
    for one in listed:
        index.add("only", one)
    assert len(index) == 1
    assert bool(index.match(event, routing_key)) is naive.wants(listed[-1], event, routing_key)


@settings(max_examples=100)
@given(patterns, st.dictionaries(st.sampled_from(["a", "b", "c"]), payloads, max_size=3))
def test_one_choice_of_array_elements_satisfies_the_whole_pattern(
    pattern: dict[str, Any], data: dict[str, Any]
) -> None:
    """The same said otherwise: some event without arrays of objects, made of the elements."""
    if "exists" in str(pattern):
        return
    (one,) = FILTERS.validate_python([{"data": pattern}])
    expected = any(naive.pattern_holds(pattern, world) for world in worlds(data))
    assert compile_filters([one])({"data": data}) is expected


def worlds(value: Any) -> list[Any]:
    """Return every way to put one object in the place of an array with objects."""
    if value.__class__ is dict:
        made: list[dict[str, Any]] = [{}]
        for name, inner in value.items():
            made = [{**one, name: chosen} for one in made for chosen in worlds(inner)]
        return made
    if value.__class__ is list:
        plain = [one for one in value if one.__class__ not in {dict, list}]
        inside = [world for one in value if one.__class__ in {dict, list} for world in worlds(one)]
        objects = [one for one in inside if one.__class__ is dict]
        arrays = [one for one in inside if one.__class__ is list]
        return [*objects, *([[plain, *arrays]] if plain or arrays or not objects else [])]
    return [value]


@settings(max_examples=150)
@given(topics, routing_keys)
def test_wildcards_of_a_routing_key_are_what_they_say(pattern: str, key: str) -> None:
    assert topic_matches(pattern, key) is naive.topic(pattern, key)


def test_a_subscription_hears_of_its_tenant_alone() -> None:
    index = SubscriptionIndex[str]()
    index.add("acme", selection(tenant="acme"))
    index.add("umbrella", selection(tenant="umbrella"))
    index.add("platform", selection())
    assert index.match(ACME) == ["acme", "platform"]


def test_equal_filters_are_compiled_once() -> None:
    index = SubscriptionIndex[int]()
    for key in range(100):
        index.add(key, selection({"data": {"a": [{"anything-but": "x"}]}}))
    assert len(index._predicates) == 1
    assert index.match({"data": {"a": "y"}, "type": "t"}) == list(range(100))


def test_only_a_few_subscriptions_are_asked() -> None:
    index = SubscriptionIndex[int]()
    for key in range(5000):
        index.add(key, selection(narrow(key), types=frozenset({"t"})))
    event: dict[str, Any] = {
        **ACME,
        "subject": "order-500",
        "source": "/acme/3/unit-21",
        "priority": "high",
    }
    event["data"] = {"lots": [{"id": "lot-7", "size": 3}, {"id": "x"}], "temperature": 109.5}
    assert sorted(index.match(event)) == [3, 4, 7, 9, 21, 500]
    shelf = index._scopes[None].shelves["t"]
    assert sum(map(len, shelf._opened(event, frozenset(), {}))) <= 10


def narrow(key: int) -> Any:
    return (
        {"exact": {"subject": f"order-{key}"}},
        {"sql": f"source LIKE '%/unit-{key}' AND NOT (priority = 'low')"},
        {"data": {"lots": {"id": [f"lot-{key}"], "size": [{"numeric": [">", 1]}]}}},
        {"any": [{"exact": {"subject": f"a-{key}"}}, {"prefix": {"source": f"/acme/{key}/"}}]},
        {"data": {"temperature": [{"numeric": [">", 100 + key, "<", 9000]}]}},
    )[key % 5]


def test_a_filter_that_cannot_be_compiled_changes_nothing() -> None:
    index = SubscriptionIndex[str]()
    index.add("one", selection({"exact": {"subject": "order-1"}}))
    with pytest.raises(CesqlSyntaxError):
        index.add("one", selection({"sql": "subject ="}, topics=frozenset({"#"})))
    assert index.match(ACME) == ["one"]
