"""What must hold of an event before a filter is true: the keys that subscriptions are found by.

A cover is a set of keys of which an event has at least one whenever the filter is true of it. A
filter may have several covers, and none when nothing about it can be looked up, such as `not`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from lineshaft_contracts.filters import Filter

from lineshaft_event_router.filters import cesql_syntax as syntax
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.cesql_values import Failure, to_boolean, to_integer
from lineshaft_event_router.filters.conditions import is_number
from lineshaft_event_router.filters.events import text_of
from lineshaft_event_router.filters.patterns import Group, Leaf, read_pattern
from lineshaft_event_router.filters.wildcards import fixed_ends, like

COVER_MAX = 64
"""Keys of one cover; a longer list of alternatives is evaluated instead of looked up."""
COVERS_MAX = 16
"""Covers of one filter that are worth weighing against each other."""


class Look(Enum):
    """How a key is looked up."""

    ATTRIBUTE = "an attribute has this text"
    PREFIX = "an attribute begins with this text"
    SUFFIX = "an attribute ends with this text"
    PAYLOAD = "a plain value of the payload is this one"
    TOPIC = "the routing key matches this pattern"
    ATTRIBUTE_ABOVE = "an attribute read as an integer is not less"
    ATTRIBUTE_BELOW = "an attribute read as an integer is not more"
    PAYLOAD_ABOVE = "a number in the payload is not less"
    PAYLOAD_BELOW = "a number in the payload is not more"


class Key(NamedTuple):
    """One thing that may be true of an event."""

    look: Look
    place: Any
    """An attribute's name, or the path of a field of the payload; None for a topic."""
    value: Any


Cover: TypeAlias = frozenset[Key]


def covers(filters: Iterable[Filter]) -> list[Cover]:
    """Return the covers of filters that all have to be true."""
    return _both(_READERS[one.dialect](one.value) for one in filters)


def types_of(found: Iterable[Cover]) -> frozenset[str] | None:
    """Return the event types outside of which a filter cannot be true; None when it may be."""
    listed = [one for one in found if all(_is_type(key) for key in one)]
    smallest = min(listed, key=len, default=None)
    return None if smallest is None else frozenset(key.value for key in smallest)


def _is_type(key: Key) -> bool:
    return key.look is Look.ATTRIBUTE and key.place == "type"


def _both(parts: Iterable[list[Cover]]) -> list[Cover]:
    return [one for part in parts for one in part][:COVERS_MAX]


def _either(parts: Sequence[list[Cover]]) -> list[Cover]:
    """Join alternatives: by their types alone, and by the shortest cover of each."""
    if not parts or not all(parts):
        return []
    of_types = [[one for one in part if all(map(_is_type, one))] for part in parts]
    others = [[one for one in part if not all(map(_is_type, one))] or part for part in parts]
    chosen = [of_types, others] if all(of_types) else [others]
    joined = [frozenset[Key]().union(*(min(part, key=len) for part in one)) for one in chosen]
    return [one for one in dict.fromkeys(joined) if len(one) <= COVER_MAX]


def _texts(look: Look) -> Callable[[Mapping[str, str]], list[Cover]]:
    return lambda attributes: [
        frozenset({Key(look, name, text)}) for name, text in attributes.items()
    ]


def _any(filters: Sequence[Filter]) -> list[Cover]:
    return _either([covers([one]) for one in filters])


def _nothing(_: Any) -> list[Cover]:
    return []


def _sql(expression: str) -> list[Cover]:
    return _of_node(parse(expression))


def _of_node(node: syntax.Node) -> list[Cover]:  # noqa: PLR0911 - one for each kind
    match node:
        case syntax.Logic(operator="and", operands=operands):
            return _both(map(_of_node, operands))
        case syntax.Logic(operator="or", operands=operands):
            return _either([_of_node(one) for one in operands])
        case syntax.Binary(
            operator="=", left=syntax.Attribute(name=name), right=syntax.Literal(value=str(text))
        ):
            return [frozenset({Key(Look.ATTRIBUTE, name, text)})]
        case syntax.Binary(
            operator=order,
            left=syntax.Attribute(name=name),
            right=syntax.Literal(value=int(bound)),
        ) if order in _SIDES:
            return [frozenset({Key(_SIDES[order][0], name, int(bound))})]
        case syntax.Like(operand=syntax.Attribute(name=name), negated=False, pattern=pattern):
            return _of_like(name, pattern)
        case syntax.In(operand=syntax.Attribute(name=name), negated=False, elements=elements):
            return _of_in(name, elements)
        case _:
            return []


def _of_like(name: str, pattern: str) -> list[Cover]:
    head, tail, whole = fixed_ends(like(pattern))
    if whole:
        return [frozenset({Key(Look.ATTRIBUTE, name, head)})]
    found = [(Look.PREFIX, head), (Look.SUFFIX, tail)]
    return [frozenset({Key(look, name, text)}) for look, text in found if text]


def _of_in(name: str, elements: Sequence[syntax.Node]) -> list[Cover]:
    """Look elements up by their text, unless one is an integer or boolean written otherwise."""
    texts = [one.value for one in elements if isinstance(one, syntax.Literal)]
    if len(texts) < len(elements) or not all(_is_canonical(text) for text in texts):
        return []
    cover = frozenset(Key(Look.ATTRIBUTE, name, text) for text in texts)
    return [cover] if len(cover) <= COVER_MAX else []


def _is_canonical(text: Any) -> bool:
    if not isinstance(text, str):
        return False
    readings = (to_integer(text), to_boolean(text))
    return all(isinstance(one, Failure) or text_of(one) == text for one in readings)


def _data(pattern: dict[str, Any]) -> list[Cover]:
    return _of_group(read_pattern(pattern))


def _of_group(group: Group) -> list[Cover]:
    fields = [
        _of_leaf(one) if isinstance(one, Leaf) else _of_group(one) for _, one in group.fields
    ]
    return _both([*fields, *(_either(list(map(_of_group, one))) for one in group.choices)])


def _of_leaf(leaf: Leaf) -> list[Cover]:
    if len(leaf.conditions) == 1 and leaf.conditions[0].keyword == "numeric":
        ranges: list[Any] = leaf.conditions[0].operand
        bounds = zip(ranges[::2], ranges[1::2], strict=True)
        return [
            frozenset({Key(_SIDES[order][1], leaf.path, bound)})
            for order, bound in bounds
            if order in _SIDES
        ]
    plain = [one.operand for one in leaf.conditions if one.keyword == "exact"]
    known = all(isinstance(value, str) or is_number(value) for value in plain)
    if len(plain) < len(leaf.conditions) or not known or len(plain) > COVER_MAX:
        return []
    return [frozenset(Key(Look.PAYLOAD, leaf.path, value) for value in plain)]


_SIDES: Mapping[str, tuple[Look, Look]] = {
    ">": (Look.ATTRIBUTE_ABOVE, Look.PAYLOAD_ABOVE),
    ">=": (Look.ATTRIBUTE_ABOVE, Look.PAYLOAD_ABOVE),
    "<": (Look.ATTRIBUTE_BELOW, Look.PAYLOAD_BELOW),
    "<=": (Look.ATTRIBUTE_BELOW, Look.PAYLOAD_BELOW),
}
_READERS: Mapping[str, Callable[[Any], list[Cover]]] = {
    "exact": _texts(Look.ATTRIBUTE),
    "prefix": _texts(Look.PREFIX),
    "suffix": _texts(Look.SUFFIX),
    "all": covers,
    "any": _any,
    "not": _nothing,
    "sql": _sql,
    "data": _data,
}
