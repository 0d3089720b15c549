"""Compiles the filters of a subscription to one function of an event."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lineshaft_contracts.filters import Filter

from lineshaft_event_router.filters import cesql_evaluation
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.dialects import (
    all_of,
    any_of,
    exact,
    none_of,
    prefix,
    suffix,
)
from lineshaft_event_router.filters.events import Predicate
from lineshaft_event_router.filters.patterns import matches_of_payload, read_pattern


def compile_filters(filters: Sequence[Filter]) -> Predicate:
    """Compile filters that all have to be true; none of them means every event.

    Raises CesqlSyntaxError or PatternError for filters that `checking` would have refused.
    """
    return all_of([compile_filter(one) for one in filters])


def compile_filter(one: Filter) -> Predicate:
    """Compile one filter."""
    return _COMPILERS[one.dialect](one.value)


def _sql(expression: str) -> Predicate:
    return cesql_evaluation.predicate(parse(expression))


def _data(pattern: dict[str, Any]) -> Predicate:
    matches = matches_of_payload(read_pattern(pattern))

    return lambda event: matches(event.get("data"))


def _not(inner: Filter) -> Predicate:
    return none_of(compile_filter(inner))


def _any(filters: Sequence[Filter]) -> Predicate:
    return any_of([compile_filter(one) for one in filters])


_COMPILERS: Mapping[str, Callable[[Any], Predicate]] = {
    "exact": exact,
    "prefix": prefix,
    "suffix": suffix,
    "all": compile_filters,
    "any": _any,
    "not": _not,
    "sql": _sql,
    "data": _data,
}
