"""Says of every part of a filter whether an event met it, and what the event has instead."""

import json
from collections.abc import Sequence
from typing import Any, cast

from lineshaft_contracts.filters import Clause, Filter
from lineshaft_contracts.problems import pointer

from lineshaft_event_router.filters import cesql_syntax as syntax
from lineshaft_event_router.filters.cesql_evaluation import evaluate
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.cesql_values import to_text
from lineshaft_event_router.filters.compiling import compile_filter
from lineshaft_event_router.filters.events import Event, text_of
from lineshaft_event_router.filters.patterns import (
    ABSENT,
    Group,
    Leaf,
    Location,
    matches_of,
    objects_of,
    read_pattern,
    values_of,
)

SHOWN_MAX = 120
"""Characters of a value that are shown."""
VALUES_SHOWN_MAX = 5
_WORDS = {"exact": "equals", "prefix": "begins with", "suffix": "ends with"}


def explain(
    filters: Sequence[Filter], event: Event, *, at: Location = ("filters",)
) -> tuple[Clause, ...]:
    """Explain each filter of a subscription; the event is wanted when all of them matched."""
    return tuple(explain_filter(one, event, (*at, index)) for index, one in enumerate(filters))


def explain_filter(one: Filter, event: Event, at: Location) -> Clause:
    """Explain one filter and its parts."""
    here = (*at, one.dialect)
    match one.dialect:
        case "exact" | "prefix" | "suffix":
            clauses = [_attribute(one.dialect, name, event, one, here) for name in one.value]
            return _combined("all of these attributes", here, clauses, all)
        case "sql":
            return _sql(one.value, event, here)
        case "data":
            group = read_pattern(one.value)
            return _group(group, [event.get("data", ABSENT)], here, "the payload")
        case "not":
            clause = explain_filter(one.value, event, here)
            reason = "it is true" if clause.matched else "it is not true"
            return _clause(here, "not this", not clause.matched, reason, [clause])
        case "any":
            clauses = [explain_filter(f, event, (*here, n)) for n, f in enumerate(one.value)]
            return _combined("any of these filters", here, clauses, any)
        case _:
            clauses = [explain_filter(f, event, (*here, n)) for n, f in enumerate(one.value)]
            return _combined("all of these filters", here, clauses, all)


def _clause(
    at: Location, asked: str, matched: bool, reason: str, clauses: Sequence[Clause] = ()
) -> Clause:
    return Clause(
        pointer=pointer(at), asked=asked, matched=matched, reason=reason, clauses=tuple(clauses)
    )


def _combined(asked: str, at: Location, clauses: Sequence[Clause], how: Any) -> Clause:
    if len(clauses) == 1:
        return clauses[0]
    met = sum(one.matched for one in clauses)
    matched = how(one.matched for one in clauses)
    return _clause(at, asked, matched, f"{met} of {len(clauses)} are true", clauses)


def _attribute(dialect: str, name: str, event: Event, one: Filter, at: Location) -> Clause:
    text = one.value[name]
    alone = Filter.model_validate({dialect: {name: text}})
    value = event.get(name)
    has = "the event has none" if value is None else f"it is {_shown(text_of(value))}"
    asked = f"{name} {_WORDS[dialect]} {_shown(text)}"
    return _clause((*at, name), asked, compile_filter(alone)(event), has)


def _sql(expression: str, event: Event, at: Location) -> Clause:
    return _node(parse(expression), expression, event, at)


def _node(node: syntax.Node, expression: str, event: Event, at: Location) -> Clause:
    """Explain a part of an expression; only AND, OR, XOR and NOT are taken apart."""
    value, errors = evaluate(node, event)
    reason = "; ".join(error.message for error in errors) or f"is {to_text(value).upper()}"
    names = {one.name for one in syntax.walk(node) if isinstance(one, syntax.Attribute)}
    known = [f"{name} = {_shown(event[name])}" for name in sorted(names) if name in event]
    inner: tuple[syntax.Node, ...] = ()
    if isinstance(node, syntax.Logic) or (
        isinstance(node, syntax.Unary) and node.operator == "not"
    ):
        inner = syntax.children(node)
    elif known:
        reason = f"{reason}, with {', '.join(known)}"
    clauses = [_node(one, expression, event, at) for one in inner]
    asked = expression[node.start : node.end]
    return _clause(at, asked, value is True and not errors, reason, clauses)


def _group(group: Group, values: Sequence[Any], at: Location, name: str) -> Clause:
    """Explain an object of a pattern for what the event has at its place, maybe several times."""
    here = (*at, *group.location)
    objects = [one for value in values for one in objects_of(value)] or [{}]
    clauses = [_part(field, part, objects, at) for field, part in group.fields]
    for number, alternatives in enumerate(group.choices, 1):
        inner = [
            _group(one, objects, at, f"alternative {n}") for n, one in enumerate(alternatives)
        ]
        clauses.append(_combined(f"one of choice {number}", (*here, "$or"), inner, any))
    matched = any(matches_of(group)(value) for value in values)
    met = sum(one.matched for one in clauses)
    reason = f"{met} of {len(clauses)} are true"
    if not matched and met == len(clauses):
        reason = f"each is true of one of {len(objects)} elements, but not all of the same one"
    return _clause(here, f"all of this in {name}", matched, reason, clauses)


def _part(
    name: str, part: Leaf | Group, objects: Sequence[dict[str, Any]], at: Location
) -> Clause:
    values = [one.get(name, ABSENT) for one in objects]
    if isinstance(part, Group):
        return _group(part, values, at, name)
    found = [one for value in values for one in values_of(value)]
    has = "the event has no such value"
    if found:
        more = (
            f" and {len(found) - VALUES_SHOWN_MAX} more" if len(found) > VALUES_SHOWN_MAX else ""
        )
        has = f"it is {', '.join(map(_shown, found[:VALUES_SHOWN_MAX]))}{more}"
    asked = f"{'.'.join(part.path)} is one of {_shown(_conditions(part))}"
    matched = any(map(matches_of(part), values))
    return _clause((*at, *part.location), asked, matched, has)


def _conditions(leaf: Leaf) -> list[Any]:
    return [
        one.operand if one.keyword == "exact" else {one.keyword: one.operand}
        for one in leaf.conditions
    ]


def _shown(value: Any) -> str:
    text = json.dumps(cast("object", value), ensure_ascii=False, default=str)
    return text if len(text) <= SHOWN_MAX else f"{text[:SHOWN_MAX]}..."
