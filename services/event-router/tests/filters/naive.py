"""Filters evaluated the plain way, one step after the other, as a measure for the compiled ones.

It shares the parsers with what it measures, and nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from lineshaft_contracts.filters import Filter
from lineshaft_event_router.filters import cesql_syntax as syntax
from lineshaft_event_router.filters.cesql_grammar import parse
from lineshaft_event_router.filters.index import Selection


class EvaluationError(Exception):
    """The expression met an error, so the filter is not true."""


def wants(selection: Selection, event: dict[str, Any], routing_key: str) -> bool:
    return (
        selection.tenant in {None, event.get("tenant")}
        and (not selection.types or event.get("type") in selection.types)
        and (selection.source is None or event.get("source") == selection.source)
        and (not selection.topics or any(topic(one, routing_key) for one in selection.topics))
        and all(holds(one, event) for one in selection.filters)
    )


def topic(pattern: str, key: str) -> bool:
    return _words(pattern.split(".") if pattern else [], key.split(".") if key else [])


def _words(pattern: Sequence[str], words: Sequence[str]) -> bool:
    if not pattern:
        return not words
    head, *rest = pattern
    if head == "#":
        return any(_words(rest, words[skipped:]) for skipped in range(len(words) + 1))
    return bool(words) and head in {"*", words[0]} and _words(rest, words[1:])


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def holds(one: Filter, event: dict[str, Any]) -> bool:  # noqa: PLR0911 - one for each dialect
    match one.dialect:
        case "exact":
            return all(_has(event, n) and text(event[n]) == t for n, t in one.value.items())
        case "prefix":
            return all(
                _has(event, n) and text(event[n]).startswith(t) for n, t in one.value.items()
            )
        case "suffix":
            return all(_has(event, n) and text(event[n]).endswith(t) for n, t in one.value.items())
        case "all":
            return all(holds(inner, event) for inner in one.value)
        case "any":
            return any(holds(inner, event) for inner in one.value)
        case "not":
            return not holds(one.value, event)
        case "sql":
            try:
                return evaluate(parse(one.value), event) is True
            except EvaluationError:
                return False
        case _:
            return pattern_holds(one.value, event.get("data"))


def _has(event: dict[str, Any], name: str) -> bool:
    return name != "data" and event.get(name) is not None


def to(kind: Any, value: Any) -> Any:
    if kind is str:
        return text(value)
    if kind is int:
        if isinstance(value, int):
            return int(value)
        if re.fullmatch("[+-]?[0-9]+", value, re.ASCII) and -(2**31) <= int(value) < 2**31:
            return int(value)
        raise EvaluationError
    if isinstance(value, int):
        return bool(value)
    if value.lower() not in {"true", "false"}:
        raise EvaluationError
    return value.lower() == "true"


def in_range(value: int) -> int:
    if not -(2**31) <= value < 2**31:
        raise EvaluationError
    return value


def evaluate(  # noqa: C901, PLR0911, PLR0912 - one case for each kind of node
    node: syntax.Node, event: dict[str, Any]
) -> Any:
    match node:
        case syntax.Literal():
            return node.value
        case syntax.Attribute():
            if not _has(event, node.name):
                raise EvaluationError
            return event[node.name]
        case syntax.Exists():
            return _has(event, node.name) or node.name in {"id", "type", "source", "specversion"}
        case syntax.Unary(operator="not"):
            return not to(bool, evaluate(node.operand, event))
        case syntax.Unary():
            return in_range(-to(int, evaluate(node.operand, event)))
        case syntax.Binary():
            return _binary(node.operator, evaluate(node.left, event), evaluate(node.right, event))
        case syntax.Logic():
            return _logic(node, event)
        case syntax.Like():
            pattern = re.sub(
                r"\\([%_])|(.)",
                lambda m: (
                    re.escape(m[1]) if m[1] else {"%": ".*", "_": "."}.get(m[2]) or re.escape(m[2])
                ),
                node.pattern,
                flags=re.DOTALL,
            )
            found = re.fullmatch(pattern, text(evaluate(node.operand, event)), re.DOTALL)
            return (found is not None) is not node.negated
        case syntax.In():
            x = evaluate(node.operand, event)
            for element in node.elements:
                if to(x.__class__, evaluate(element, event)) == x:
                    return not node.negated
            return node.negated
        case syntax.Call():
            raise NotImplementedError(node.name)


def _binary(operator: str, x: Any, y: Any) -> Any:
    if operator in {"=", "!="}:
        return (to(y.__class__, x) == y) is (operator == "=")
    x, y = to(int, x), to(int, y)
    if operator in {"/", "%"} and y == 0:
        raise EvaluationError
    results = {
        "<": lambda: x < y,
        "<=": lambda: x <= y,
        ">": lambda: x > y,
        ">=": lambda: x >= y,
        "+": lambda: in_range(x + y),
        "-": lambda: in_range(x - y),
        "*": lambda: in_range(x * y),
        "/": lambda: in_range(int(x / y)),
        "%": lambda: x - y * int(x / y),
    }
    return results[operator]()


def _logic(node: syntax.Logic, event: dict[str, Any]) -> bool:
    value = to(bool, evaluate(node.operands[0], event))
    for operand in node.operands[1:]:
        if node.operator == "and":
            value = value and to(bool, evaluate(operand, event))
        elif node.operator == "or":
            value = value or to(bool, evaluate(operand, event))
        else:
            value = value != to(bool, evaluate(operand, event))
    return value


def pattern_holds(pattern: dict[str, Any], value: Any) -> bool:
    """Look for one element that satisfies all; what asks only for absence asks it of all."""
    objects = [*_objects(value)] or [{}]
    answers = [_object_holds(pattern, one) for one in objects]
    return all(answers) if _only_absence(pattern) else any(answers)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    if value.__class__ is dict:
        yield value
    elif value.__class__ is list:
        for inner in value:
            yield from _objects(inner)


def _only_absence(pattern: Any) -> bool:
    if pattern.__class__ is dict:
        parts = [v for k, v in pattern.items() if k != "$or"] + pattern.get("$or", [])
        return all(_only_absence(part) for part in parts)
    return all(one == {"exists": False} for one in pattern)


def _object_holds(pattern: dict[str, Any], found: dict[str, Any]) -> bool:
    for name, wanted in pattern.items():
        if name == "$or":
            if not any(_object_holds(one, found) for one in wanted):
                return False
        elif wanted.__class__ is dict:
            if not pattern_holds(wanted, found.get(name)):
                return False
        else:
            values = [*_plain(found[name])] if name in found else []
            absent = not values and {"exists": False} in wanted
            if not absent and not any(condition(one, v) for one in wanted for v in values):
                return False
    return True


def _plain(value: Any) -> Iterator[Any]:
    if value.__class__ is list:
        for inner in value:
            yield from _plain(inner)
    elif value.__class__ is not dict:
        yield value


def condition(  # noqa: C901, PLR0911 - one case for each keyword
    wanted: Any, value: Any
) -> bool:
    if wanted.__class__ is not dict:
        return wanted == value and isinstance(wanted, bool) == isinstance(value, bool)
    ((keyword, operand),) = wanted.items()
    is_text = isinstance(value, str)
    match keyword:
        case "exists":
            return operand
        case "prefix":
            return is_text and value.startswith(operand)
        case "suffix":
            return is_text and value.endswith(operand)
        case "equals-ignore-case":
            return is_text and value.lower() == operand.lower()
        case "wildcard":
            pattern = ".*".join(map(re.escape, operand.split("*")))
            return is_text and re.fullmatch(pattern, value, re.DOTALL) is not None
        case "anything-but":
            if operand.__class__ is dict:
                return not condition(operand, value)
            return not any(condition(one, value) for one in operand)
        case "numeric":
            if isinstance(value, bool) or not isinstance(value, int | float):
                return False
            bounds = zip(operand[::2], operand[1::2], strict=True)
            return all(_ordered(sign, value, bound) for sign, bound in bounds)
        case _:
            raise NotImplementedError(keyword)


def _ordered(sign: str, value: Any, bound: Any) -> bool:
    return {
        "=": value == bound,
        "<": value < bound,
        "<=": value <= bound,
        ">": value > bound,
        ">=": value >= bound,
    }[sign]
