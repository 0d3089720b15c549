"""Which fields the payloads of event types have, and what values these may take."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, cast

from lineshaft_contracts.registry import Contract, Kind, contracts


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What the contracts say of one place in the payload, over all types that have it."""

    kinds: frozenset[str]
    """Of `string`, `number`, `boolean`, `null`; empty where only an object may be."""
    words: frozenset[str] | None
    """The texts it may be, where the contracts list them."""
    fields: frozenset[str]
    """Names of its own fields, where it may be an object."""
    is_open: bool
    """Whether anything may be there."""


def event_contracts(types: Iterable[str]) -> list[Contract]:
    """Return the contracts of these event types, those that there are; of none: of all."""
    events = {one.type: one for one in contracts().values() if one.kind is Kind.EVENT}
    wanted = list(types)
    return [events[one] for one in wanted if one in events] if wanted else list(events.values())


def place_in(wanted: Sequence[Contract], path: Sequence[str]) -> Place | None:
    """Look a path of field names up, through arrays; None when no contract has it."""
    found = [node for one in wanted for node in _nodes_at(one.type, tuple(path))]
    return _summary(found) if found else None


@cache
def _schema(type_: str) -> dict[str, Any]:
    return contracts()[type_].model.model_json_schema()


@lru_cache(maxsize=512)  # The paths are what people send.
def _nodes_at(type_: str, path: tuple[str, ...]) -> tuple[Mapping[str, Any], ...]:
    """Return the schemas of what may be at a path, without references and alternatives."""
    root = _schema(type_)
    nodes = list(_plain(root, root))
    for name in path:
        nodes = [inner for node in nodes for inner in _field(node, name, root)]
    return tuple(nodes)


def _field(node: Mapping[str, Any], name: str, root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not node.keys() - {"title", "description", "default"}:
        yield {}
        return
    properties: Mapping[str, Any] = node.get("properties", {})
    others: Any = node.get("additionalProperties", False)
    if name in properties:
        yield from _plain(properties[name], root)
    elif isinstance(others, dict):
        yield from _plain(cast("dict[str, Any]", others), root)
    elif others is True:
        yield {}


def _plain(node: Mapping[str, Any], root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Follow references, alternatives and the elements of arrays."""
    if "$ref" in node:
        yield from _plain(root["$defs"][node["$ref"].rpartition("/")[2]], root)
    elif "anyOf" in node or "oneOf" in node:
        for alternative in node.get("anyOf", node.get("oneOf")):
            yield from _plain(alternative, root)
    elif node.get("type") == "array":
        for inner in (*node.get("prefixItems", ()), node.get("items", {})):
            yield from _plain(inner, root)
    else:
        yield dict(node)


def _summary(nodes: Sequence[Mapping[str, Any]]) -> Place:
    kinds, words, fields = set[str](), set[str](), set[str]()
    listed, is_open = True, False
    for node in nodes:
        kind = node.get("type")
        if "const" in node or "enum" in node:
            words |= {str(one) for one in node.get("enum", [node.get("const")])}
        elif kind == "string":
            listed = False
        if kind == "object":
            fields |= node.get("properties", {}).keys()
            is_open = is_open or bool(node.get("additionalProperties"))
        elif kind is None and "enum" not in node and "const" not in node:
            is_open = True
        else:
            kinds.add({"integer": "number", None: "string"}.get(kind, str(kind)))
    return Place(
        kinds=frozenset(kinds),
        words=frozenset(words) if words and listed else None,
        fields=frozenset(fields),
        is_open=is_open,
    )
