"""What may change in a released message, and what needs a new version beside the old one."""

from collections.abc import Iterator
from typing import Any

from lineshaft_contracts.registry import Kind

LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")
FACTS = "x-lineshaft"
EXACT = ("type", "const", "format", "pattern", "prefixItems")


def breaking_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Compare two schemas of one message and name what breaks its publishers or consumers.

    Breaking: a field removed or renamed (which is a removal), another type, a narrower range,
    an enumeration without one of its words, a new required field, and a field that is no
    longer always there (unless only the owner of a command or query reads it), another
    exchange. Anything optional may be added, and so may words of an enumeration: consumers read
    them as unknown.
    """
    before, after = old.get(FACTS, {}), new.get(FACTS, {})
    asked = before.get("kind") in (Kind.COMMAND, Kind.QUERY)
    moved = [
        f": {name} was {before.get(name)!r}, is {after.get(name)!r}"
        for name in ("kind", "exchange")
        if before.get(name) != after.get(name)
    ]
    return [*moved, *_Comparison(old, new, optional_allowed=asked).of(old, new, "")]


class _Comparison:
    def __init__(
        self, old: dict[str, Any], new: dict[str, Any], *, optional_allowed: bool
    ) -> None:
        self._old_root = old
        self._new_root = new
        self._optional_allowed = optional_allowed
        self._seen: set[tuple[str, str]] = set()

    def of(self, old: Any, new: Any, path: str) -> Iterator[str]:
        """Name each breaking change at or below `path`."""
        if isinstance(old, bool) or isinstance(new, bool):
            if old != new:
                yield f"{path}: was {old}, is {new}"
            return
        pair = (str(old.get("$ref")), str(new.get("$ref")))
        if "$ref" in old and "$ref" in new:
            if pair in self._seen:
                return
            self._seen.add(pair)
        old, new = _resolve(old, self._old_root), _resolve(new, self._new_root)
        yield from self._exact(old, new, path)
        yield from self._bounds(old, new, path)
        yield from self._variants(old, new, path)
        yield from self._fields(old, new, path)
        for name in ("items", "additionalProperties"):
            if name in old or name in new:
                yield from self.of(old.get(name, {}), new.get(name, {}), f"{path}/{name}")

    @staticmethod
    def _exact(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
        for name in EXACT:
            if old.get(name) != new.get(name):
                yield f"{path}: {name} was {old.get(name)!r}, is {new.get(name)!r}"
        if "enum" in new:
            missing = [word for word in old.get("enum", ["any"]) if word not in new["enum"]]
            if missing:
                yield f"{path}: no longer accepts {missing}"

    @staticmethod
    def _bounds(old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
        for name in LOWER_BOUNDS:
            if name in new and (name not in old or new[name] > old[name]):
                yield f"{path}: {name} rose from {old.get(name)} to {new[name]}"
        for name in UPPER_BOUNDS:
            if name in new and (name not in old or new[name] < old[name]):
                yield f"{path}: {name} fell from {old.get(name)} to {new[name]}"

    def _variants(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
        for name in ("anyOf", "oneOf"):
            before, after = old.get(name, []), new.get(name, [])
            if len(before) != len(after):
                yield f"{path}: {name} had {len(before)} variants, has {len(after)}"
            for index, (one, other) in enumerate(zip(before, after, strict=False)):
                yield from self.of(one, other, f"{path}/{name}/{index}")

    def _fields(self, old: dict[str, Any], new: dict[str, Any], path: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name, field in before.items():
            if name not in after:
                yield f"{path}/{name}: was removed"
            else:
                yield from self.of(field, after[name], f"{path}/{name}")
        was, must = set(old.get("required", [])), set(new.get("required", []))
        for name in sorted(must - was):
            yield f"{path}/{name}: is required now"
        for name in sorted((was - must) & set(after)):
            if not self._optional_allowed:
                yield f"{path}/{name}: is no longer always there"


def _resolve(schema: dict[str, Any], root: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema and schema["$ref"].startswith("#/$defs/"):
        schema = root["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    return schema
