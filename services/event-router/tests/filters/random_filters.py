"""Strategies for events, filters and subscriptions over so few words that they often meet."""

from typing import Any, TypeAlias

from hypothesis import strategies as st
from lineshaft_contracts.filters import FILTERS, Filter
from lineshaft_event_router.filters.index import Selection
from lineshaft_event_router.filters.patterns import PatternError, read_pattern

Strategy: TypeAlias = st.SearchStrategy[Any]

TEXTS = st.sampled_from(["a", "ab", "b", "ba", "aab", "5", "05", "true", "TRUE", "a%_b"])
NAMES = st.sampled_from(["type", "source", "subject", "priority", "severity", "data"])
TYPES = st.sampled_from(["t1", "t2", "t3"])
WORDS = st.sampled_from(["a", "b", "c"])
NUMBERS: Strategy = st.sampled_from([0, 1, 1.0, 2, 2.5, 3, -1])

plain: Strategy = TEXTS | NUMBERS | st.booleans() | st.none()
payloads: Strategy = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, min_size=1, max_size=3)
    ),
    max_leaves=12,
)


@st.composite
def events(draw: st.DrawFn) -> dict[str, Any]:
    event: dict[str, Any] = {"specversion": "1.0", "id": "1", "type": draw(TYPES)}
    event["source"] = draw(TEXTS)
    optional: dict[str, Strategy] = {
        "tenant": st.sampled_from(["x", "y"]),
        "subject": TEXTS | st.none(),
        "priority": TEXTS,
        "severity": st.integers(0, 6) | st.booleans() | TEXTS,
        "data": st.dictionaries(WORDS, payloads, max_size=3) | payloads,
    }
    for name, values in optional.items():
        if draw(st.booleans()):
            event[name] = draw(values)
    return event


routing_keys = st.lists(st.sampled_from(["a", "b", "c", "*", "#", ""]), max_size=5).map(".".join)
topics = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=5).map(".".join)

_numeric: Strategy = st.tuples(st.sampled_from(["=", "<", "<=", ">", ">="]), NUMBERS).map(list)
_range: Strategy = st.tuples(
    st.sampled_from([">", ">="]),
    st.integers(0, 1),
    st.sampled_from(["<", "<="]),
    st.integers(1, 3),
).map(list)


def _entry(name: str, value: Any) -> dict[str, Any]:
    return {name: value}


def _entries(name: str, values: Strategy) -> Strategy:
    return st.builds(_entry, st.just(name), values)


def _spaced(*parts: str) -> str:
    return " ".join(parts)


def _with_choice(fields: dict[str, Any], choice: list[Any]) -> dict[str, Any]:
    return {**fields, "$or": choice}


def _listed(sign: str, parts: list[str]) -> str:
    return sign.join(f"({part})" for part in parts)


conditions: Strategy = (
    plain
    | _entries("prefix", TEXTS)
    | _entries("suffix", TEXTS)
    | _entries("equals-ignore-case", TEXTS)
    | _entries("wildcard", st.sampled_from(["a*", "*b", "a*b", "*", "*a*b*"]))
    | _entries("anything-but", st.lists(TEXTS, min_size=1, max_size=2))
    | _entries("anything-but", st.lists(NUMBERS, min_size=1, max_size=2))
    | _entries("anything-but", _entries("prefix", TEXTS))
    | _entries("numeric", _numeric | _range)
    | _entries("exists", st.booleans())
)
leaves: Strategy = st.lists(conditions, min_size=1, max_size=3)
_objects: Strategy = st.recursive(
    st.dictionaries(WORDS, leaves, min_size=1, max_size=2),
    lambda inner: (
        st.dictionaries(WORDS, leaves | inner, min_size=1, max_size=3)
        | st.builds(
            _with_choice,
            st.dictionaries(WORDS, leaves | inner, max_size=2),
            st.lists(inner, min_size=2, max_size=3),
        )
    ),
    max_leaves=6,
)


def _is_valid(pattern: dict[str, Any]) -> bool:
    try:
        read_pattern(pattern)
    except PatternError:
        return False
    return True


patterns: Strategy = _objects.filter(_is_valid)

_literals: Strategy = (
    TEXTS.map(lambda t: f"'{t}'")
    | st.sampled_from(["TRUE", "false", "0", "5", "-1", "2147483647"])
    | NAMES
)
_signs = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])
_negated = st.sampled_from(["", "NOT"])
_sums: Strategy = st.builds(
    _spaced,
    st.just("("),
    _literals,
    st.sampled_from(["+", "-", "*", "/", "%"]),
    _literals,
    st.just(")"),
)
_comparisons: Strategy = st.builds(_spaced, _literals | _sums, _signs, _literals | _sums)
_likes: Strategy = st.builds(
    _spaced,
    _literals,
    _negated,
    st.just("LIKE"),
    st.sampled_from(
        ["'a%'", "'%b'", "'a%b'", "'%'", "'_b'", "'%a%b'", "'a\\%_b'", "'ab'", "'a__%'"]
    ),
)
_ins: Strategy = st.builds(
    _spaced,
    _literals,
    _negated,
    st.just("IN ("),
    st.lists(_literals, min_size=1, max_size=3).map(", ".join),
    st.just(")"),
)
expressions: Strategy = st.recursive(
    _comparisons | _likes | _ins | st.builds(_spaced, st.just("EXISTS"), NAMES),
    lambda inner: (
        st.builds(
            _listed,
            st.sampled_from([" AND ", " OR ", " XOR "]),
            st.lists(inner, min_size=2, max_size=3),
        )
        | st.builds(_spaced, st.just("NOT ("), inner, st.just(")"))
    ),
    max_leaves=5,
)

_attributes: Strategy = st.builds(
    _entry,
    st.sampled_from(["exact", "prefix", "suffix"]),
    st.dictionaries(NAMES, TEXTS | TYPES, min_size=1, max_size=2),
)
_simple: Strategy = (
    _attributes
    | _entries("exact", _entries("type", TYPES))
    | _entries("sql", expressions)
    | _entries("data", patterns)
)
filters: Strategy = st.recursive(
    _simple,
    lambda inner: (
        st.builds(
            _entry,
            st.sampled_from(["all", "any"]),
            st.lists(inner, min_size=1, max_size=3),
        )
        | _entries("not", inner)
    ),
    max_leaves=4,
)


def _read(raw: list[Any]) -> tuple[Filter, ...]:
    return FILTERS.validate_python(raw)


selections = st.builds(
    Selection,
    tenant=st.sampled_from(["x", "y", None]),
    types=st.frozensets(TYPES, max_size=2),
    source=st.none() | TEXTS,
    topics=st.frozensets(topics, max_size=2),
    filters=st.lists(filters, max_size=3).map(_read),
)
