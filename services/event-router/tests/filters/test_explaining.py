"""A dry run says of each part of a filter whether it matched, and what the event has instead."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.filters import FILTERS, Clause
from lineshaft_event_router.filters.compiling import compile_filters
from lineshaft_event_router.filters.explaining import explain

from .random_filters import events, filters

EVENT: dict[str, Any] = {
    "type": "t",
    "source": "/acme/north",
    "subject": "order-7",
    "severity": 300,
    "data": {
        "lot": "L-1",
        "uses": [{"use": "consumed", "lot": "A"}, {"use": "produced", "lot": "B"}],
    },
}


def told(*raw: Any) -> list[tuple[str, bool, str]]:
    def flat(clauses: tuple[Clause, ...]) -> list[Clause]:
        return [inner for one in clauses for inner in (one, *flat(one.clauses))]

    clauses = flat(explain(FILTERS.validate_python(raw), EVENT))
    return [(one.pointer, one.matched, one.reason) for one in clauses]


@settings(max_examples=200)
@given(st.lists(filters, max_size=3), events())
def test_an_explanation_agrees_with_the_filter(raw: list[Any], event: dict[str, Any]) -> None:
    read = FILTERS.validate_python(raw)
    assert all(one.matched for one in explain(read, event)) is compile_filters(read)(event)


def test_an_attribute_that_differs_is_shown() -> None:
    assert told({"exact": {"subject": "order-8"}}, {"prefix": {"correlationid": "x"}}) == [
        ("/filters/0/exact/subject", False, 'it is "order-7"'),
        ("/filters/1/prefix/correlationid", False, "the event has none"),
    ]


def test_the_parts_of_any_and_not_are_explained() -> None:
    assert told({"any": [{"exact": {"type": "u"}}, {"not": {"exact": {"type": "t"}}}]}) == [
        ("/filters/0/any", False, "0 of 2 are true"),
        ("/filters/0/any/0/exact/type", False, 'it is "t"'),
        ("/filters/0/any/1/not", False, "it is true"),
        ("/filters/0/any/1/not/exact/type", True, 'it is "t"'),
    ]


def test_the_parts_of_an_expression_are_explained_with_their_values_and_errors() -> None:
    assert told({"sql": "severity > 500 OR (priority = 'low')"}) == [
        ("/filters/0/sql", False, "the event has no priority"),
        ("/filters/0/sql", False, "is FALSE, with severity = 300"),
        ("/filters/0/sql", False, "the event has no priority"),
    ]


def test_a_pattern_that_two_elements_satisfy_only_together_says_so() -> None:
    explained = told({"data": {"uses": {"use": ["consumed"], "lot": ["B"]}}})
    assert explained == [
        ("/filters/0/data", False, "0 of 1 are true"),
        (
            "/filters/0/data/uses",
            False,
            "each is true of one of 2 elements, but not all of the same one",
        ),
        ("/filters/0/data/uses/use", True, 'it is "consumed", "produced"'),
        ("/filters/0/data/uses/lot", True, 'it is "A", "B"'),
    ]


def test_long_values_are_cut() -> None:
    (clause,) = explain(
        FILTERS.validate_python([{"exact": {"subject": "x"}}]), {"subject": "y" * 9999}
    )
    assert len(clause.reason) < 200
