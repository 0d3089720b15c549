"""Refuses payload patterns that can match no event of the wanted types."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lineshaft_contracts.problems import FieldProblem, pointer
from lineshaft_contracts.registry import Contract

from lineshaft_event_router.filters.attribute_checking import did_you_mean
from lineshaft_event_router.filters.conditions import Condition, is_number
from lineshaft_event_router.filters.contract_fields import Place, place_in
from lineshaft_event_router.filters.patterns import (
    Leaf,
    Location,
    PatternError,
    leaves,
    read_pattern,
)

_KINDS: Mapping[str, str] = {
    "prefix": "string",
    "suffix": "string",
    "equals-ignore-case": "string",
    "wildcard": "string",
    "cidr": "string",
    "decimal": "string",
    "numeric": "number",
}
"""What a value has to be before a condition can hold."""
_NAMES = {"string": "text", "number": "a number", "boolean": "a boolean", "null": "null"}


def check_pattern(
    pattern: dict[str, Any], wanted: Sequence[Contract], at: Location
) -> Iterator[FieldProblem]:
    """Give what is wrong with a pattern of the payload of these types."""
    try:
        group = read_pattern(pattern)
    except PatternError as error:
        for problem in error.problems:
            yield FieldProblem(
                pointer=pointer((*at, *problem.location)),
                code="invalid_pattern",
                message=problem.message,
            )
        return
    for leaf in leaves(group):
        yield from _check_leaf(leaf, wanted, at)


def _check_leaf(leaf: Leaf, wanted: Sequence[Contract], at: Location) -> Iterator[FieldProblem]:
    here = (*at, *leaf.location)
    place = place_in(wanted, leaf.path)
    if place is None:
        yield _unknown(leaf, wanted, here)
    elif place.is_open:
        return
    elif not place.kinds:
        fields = ", ".join(sorted(place.fields))
        message = f"is an object; ask for one of its fields: {fields}"
        yield FieldProblem(pointer=pointer(here), code="not_a_value", message=message)
    else:
        for index, one in enumerate(leaf.conditions):
            reason = _why_never(one, place)
            if reason:
                where = pointer((*here, index))
                yield FieldProblem(pointer=where, code="never_matches", message=reason)


def _unknown(leaf: Leaf, wanted: Sequence[Contract], here: Location) -> FieldProblem:
    known = depth = 0
    parent: Place | None = None
    for depth in range(len(leaf.path)):
        parent = place_in(wanted, leaf.path[:depth])
        if parent is None:
            break
        known = depth
    parent = place_in(wanted, leaf.path[:known])
    name = leaf.path[known]
    fields = parent.fields if parent else frozenset[str]()
    types = wanted[0].type if len(wanted) == 1 else f"none of the {len(wanted)} wanted types"
    has = "has no" if len(wanted) == 1 else "has a"
    message = f"{types} {has} field {'.'.join(leaf.path[: known + 1])[:200]!r}"
    message += did_you_mean(name, fields)
    return FieldProblem(pointer=pointer(here), code="unknown_field", message=message)


def _why_never(one: Condition, place: Place) -> str:
    """Say why a condition can hold of no value that the contracts allow; empty when it can."""
    kind = _KINDS.get(one.keyword)
    if one.keyword == "exact":
        kind = _kind_of(one.operand)
    if kind is not None and kind not in place.kinds:
        others = " or ".join(sorted(_NAMES[name] for name in place.kinds))
        hint = ""
        if one.keyword == "numeric":
            hint = "; amounts travel as decimal text: use decimal"
        return f"the field is {others}, never {_NAMES[kind]}{hint}"
    if one.keyword == "exact" and kind == "string" and place.words is not None:
        known = one.operand in place.words
        return "" if known else f"is none of {', '.join(sorted(place.words))}"
    return ""


def _kind_of(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        return "string"
    return "number" if is_number(value) else "boolean"
