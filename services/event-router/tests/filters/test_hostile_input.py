"""Nothing that is sent makes a parser fail but with its own error, or makes anything slow."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.filters import EXPRESSION_LENGTH_MAX
from lineshaft_contracts.problems import ProblemError
from lineshaft_event_router.filters.cesql_evaluation import evaluate
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.cesql_tokens import CesqlSyntaxError
from lineshaft_event_router.filters.checking import read_filters
from lineshaft_event_router.filters.compiling import compile_filters
from lineshaft_event_router.filters.explaining import explain
from lineshaft_event_router.filters.index import Selection, SubscriptionIndex

from .random_filters import events

CPU_SECONDS_MAX = 2.0
"""Far more than any of it needs, far less than a catastrophe takes."""

WORDS = (
    "( ) , + - * / % = != <> < > <= >= AND or XOR not LIKE IN EXISTS TRUE false 'a' \"b\" "
    "'a%\\%_' subject type severity missing 0 5 -1 2147483648 LENGTH( CONCAT( ABS( LEFT( x_y "
    "' \" \\ \u00e9 \x00"
)
NAMES = (
    "exact prefix suffix all any not sql data $or numeric decimal exists cidr anything-but "
    "wildcard equals-ignore-case type subject quantity"
)
fragments = st.lists(st.sampled_from(WORDS.split(" ")), max_size=25).map(" ".join)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(NAMES.split()) | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=12,
)


@contextmanager
def quickly() -> Generator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < CPU_SECONDS_MAX


@settings(max_examples=500)
@given(fragments | st.text(max_size=60), events())
def test_an_expression_is_read_or_refused(expression: str, event: dict[str, Any]) -> None:
    with quickly():
        try:
            node = parse(expression)
        except CesqlSyntaxError as refused:
            position = refused.position
        else:
            position = 0
            value, errors = evaluate(node, event)
            assert isinstance(value, str | int | bool)
            assert all(error.message for error in errors)
    assert 0 <= position <= len(expression)


@settings(max_examples=500)
@given(json_values, events())
def test_filters_are_read_or_refused(raw: Any, event: dict[str, Any]) -> None:
    with quickly():
        try:
            filters = read_filters(raw)
        except ProblemError as refused:
            problem = refused.problem
        else:
            problem = None
            wanted = compile_filters(filters)(event)
            assert all(one.matched for one in explain(filters, event)) is wanted
    if problem is not None:
        assert problem.code == "invalid_filters"
        assert all(one.pointer.startswith("/filters") for one in problem.errors)


@pytest.mark.parametrize(
    "expression",
    [
        "(" * EXPRESSION_LENGTH_MAX,
        "-" * EXPRESSION_LENGTH_MAX,
        "NOT " * 500 + "a",
        "'" + "\\" * 2000,
        "'" + "\\'" * 1000,
        "1" * 2000,
        "a = " * 500 + "a",
        "f(" * 500,
        "a LIKE 'x' " + "LIKE 'x' " * 120,
        "a IN (" + "1," * 250 + "1)",
        "-".join(["1"] * 250),
        " AND ".join(["a = 1"] * 120),
    ],
)
def test_long_expressions_are_read_or_refused_quickly(expression: str) -> None:
    with quickly():
        try:
            evaluate(parse(expression), {"a": "x" * 1000})
        except CesqlSyntaxError:
            return


@pytest.mark.parametrize(
    "raw",
    [
        {"sql": "subject LIKE '" + "%a" * 900 + "%b'"},
        {"sql": "subject LIKE '" + "%a_" * 600 + "b'"},
        {"sql": "subject LIKE '" + "_%" * 900 + "b'"},
        {"data": {"subject": [{"wildcard": "*a" * 450 + "*b"}]}},
    ],
)
def test_hostile_wildcards_take_no_longer_than_their_lengths(raw: Any) -> None:
    matches = compile_filters(read_filters([raw]) if "sql" in raw else _unchecked(raw))
    text = "a" * 20_000
    with quickly():
        assert matches({"subject": text, "data": {"subject": text}}) is False


def _unchecked(raw: Any) -> Any:
    from lineshaft_contracts.filters import FILTERS

    return FILTERS.validate_python([raw])


def test_deep_and_large_filters_are_refused_before_anything_recurses() -> None:
    deep: Any = {"exact": {"type": "t"}}
    pattern: Any = {"a": ["x"]}
    for _ in range(10_000):
        deep, pattern = {"not": deep}, {"a": pattern}
    large = [{"exact": {"subject": "x" * 255}}] * 200
    wide = [{"data": {"a": list(range(2000))}}]
    for raw in ([deep], [{"data": pattern}], large, wide, [{"sql": "a" * 3000}]):
        with quickly(), pytest.raises(ProblemError) as refused:
            read_filters(raw)
        assert refused.value.problem.code == "invalid_filters"


def test_many_alternatives_do_not_multiply() -> None:
    choice: Any = [{"a": [n]} for n in range(8)]
    pattern: Any = {"b": ["x"], "$or": choice}
    for n in range(6):
        pattern = {f"d{n}": pattern, "$or": [{f"e{n}": ["x"]}, {f"f{n}": ["y"]}, {f"g{n}": ["z"]}]}
    payload: Any = [{"a": 9, "b": "x"}] * 5
    for n in range(6):
        payload = [{f"d{n}": payload, f"g{n}": "z"}] * 3
    index = SubscriptionIndex[int]()
    with quickly():
        index.add(1, Selection(filters=_unchecked({"data": pattern})))
        assert index.match({"type": "t", "data": payload}) == []
