"""Compiles a CloudEvents SQL expression to closures (version 1.0, section 3).

Every closure takes an event and returns its value, or a Failure that holds a value and errors. An
operator whose operand failed returns the zero of its own type with the operand's errors.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias, assert_never

from lineshaft_event_router.filters import cesql_syntax as syntax
from lineshaft_event_router.filters.cesql_functions import function
from lineshaft_event_router.filters.cesql_values import (
    CASTS,
    ZEROS,
    CesqlError,
    ErrorKind,
    Failure,
    Result,
    Value,
    cast_like,
    cast_to,
    failed,
    failure,
    primitive,
    within_32_bits,
)
from lineshaft_event_router.filters.events import NO_ATTRIBUTES, Event, Predicate
from lineshaft_event_router.filters.wildcards import like, matcher

Evaluation: TypeAlias = Callable[[Event], Any]
"""Any stands for Result: this is the innermost loop, and its checks are by exact type."""

REQUIRED = frozenset({"id", "source", "specversion", "type"})


def evaluate(node: syntax.Node, event: Event) -> tuple[Value, tuple[CesqlError, ...]]:
    """Return the value of an expression and the errors that came up."""
    result = compiled(node)(event)
    return (result.value, result.errors) if isinstance(result, Failure) else (result, ())


def predicate(node: syntax.Node) -> Predicate:
    """Compile a filter: true when the expression is TRUE and no error came up."""
    evaluation = compiled(node)
    return lambda event: evaluation(event) is True


def compiled(node: syntax.Node) -> Evaluation:  # noqa: PLR0911 - one line for each kind of node
    """Compile a tree."""
    match node:
        case syntax.Literal():
            return lambda _, value=node.value: value
        case syntax.Attribute():
            return _attribute(node.name)
        case syntax.Exists():
            return _exists(node.name)
        case syntax.Unary():
            return _unary(node)
        case syntax.Binary():
            return _binary(node)
        case syntax.Logic():
            return _logic(node)
        case syntax.Like():
            return _like(node)
        case syntax.In():
            return _in(node)
        case syntax.Call():
            return _call(node)
        case _:
            assert_never(node)


def _attribute(name: str) -> Evaluation:
    missing = failure(False, ErrorKind.MISSING_ATTRIBUTE, f"the event has no {name}")  # noqa: FBT003
    if name in NO_ATTRIBUTES:
        return lambda _: missing

    def attribute(event: Event) -> Any:
        value = event.get(name)
        if type(value) is str:
            return value
        return missing if value is None else primitive(value)

    return attribute


def _exists(name: str) -> Evaluation:
    if name in REQUIRED:
        return lambda _: True
    if name in NO_ATTRIBUTES:
        return lambda _: False
    return lambda event: event.get(name) is not None


def _unary(node: syntax.Unary) -> Evaluation:
    operand = compiled(node.operand)
    kind: type = bool if node.operator == "not" else int
    compute: Callable[[Any], Any] = operator.not_ if kind is bool else _negative
    zero = ZEROS[kind]

    def unary(event: Event) -> Any:
        result = cast_to(kind, operand(event))
        if isinstance(result, Failure):
            return failed(zero, result)
        return compute(result)

    return unary


def _negative(number: Any) -> Result:
    return within_32_bits(-number)


def _quotient(left: int, right: int) -> Result:
    if right == 0:
        return failure(0, ErrorKind.MATH, "division by zero")
    quotient = abs(left) // abs(right)
    return within_32_bits(quotient if (left < 0) == (right < 0) else -quotient)


def _remainder(left: int, right: int) -> Result:
    if right == 0:
        return failure(0, ErrorKind.MATH, "division by zero")
    remainder = abs(left) % abs(right)
    return -remainder if left < 0 else remainder


_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ARITHMETIC: Mapping[str, Callable[[Any, Any], Result]] = {
    "+": lambda left, right: within_32_bits(left + right),
    "-": lambda left, right: within_32_bits(left - right),
    "*": lambda left, right: within_32_bits(left * right),
    "/": _quotient,
    "%": _remainder,
}


def _binary(node: syntax.Binary) -> Evaluation:
    left, right = compiled(node.left), compiled(node.right)
    if node.operator in {"=", "!="}:
        wanted = node.operator == "="
        if isinstance(node.right, syntax.Literal):
            return _equal_to(left, node.right.value, wanted=wanted)
        return _equal(left, right, wanted=wanted)
    order = _ORDERS.get(node.operator)
    zero: Value = 0 if order is None else False
    compute: Callable[[Any, Any], Any] = order or _ARITHMETIC[node.operator]

    def binary(event: Event) -> Any:
        x, y = left(event), right(event)
        if type(x) is not int:
            x = cast_to(int, x)
        if type(y) is not int:
            y = cast_to(int, y)
        if isinstance(x, Failure) or isinstance(y, Failure):
            return failed(zero, x, y)
        return compute(x, y)

    return binary


def _equal(left: Evaluation, right: Evaluation, *, wanted: bool) -> Evaluation:
    """Compare after a cast of the left to the right one's type (section 3.7, ambiguous)."""

    def equal(event: Event) -> Any:
        x, y = left(event), right(event)
        if isinstance(x, Failure) or isinstance(y, Failure):
            return failed(False, x, y)  # noqa: FBT003
        x = cast_like(y, x)
        if isinstance(x, Failure):
            return failed(False, x)  # noqa: FBT003
        return (x == y) is wanted

    return equal


def _equal_to(left: Evaluation, y: Value, *, wanted: bool) -> Evaluation:
    kind = type(y)

    def equal_to(event: Event) -> Any:
        x = left(event)
        if type(x) is not kind:
            x = cast_to(kind, x)
            if isinstance(x, Failure):
                return failed(False, x)  # noqa: FBT003
        return (x == y) is wanted

    return equal_to


def _logic(node: syntax.Logic) -> Evaluation:
    operands = tuple(map(compiled, node.operands))
    if node.operator == "xor":
        return _exclusive(operands)
    decisive = node.operator == "or"

    def logic(event: Event) -> Any:
        for operand in operands:
            result = operand(event)
            if type(result) is not bool:
                result = cast_to(bool, result)
                if isinstance(result, Failure):
                    return failed(False, result)  # noqa: FBT003
            if result is decisive:
                return decisive
        return not decisive

    return logic


def _exclusive(operands: tuple[Evaluation, ...]) -> Evaluation:
    def exclusive(event: Event) -> Any:
        results = [cast_to(bool, operand(event)) for operand in operands]
        if any(isinstance(one, Failure) for one in results):
            return failed(False, *results)  # noqa: FBT003
        return sum(one is True for one in results) % 2 == 1

    return exclusive


def _like(node: syntax.Like) -> Evaluation:
    operand, matches, wanted = (
        compiled(node.operand),
        matcher(like(node.pattern)),
        not node.negated,
    )

    def is_like(event: Event) -> Any:
        text: Any = operand(event)
        if type(text) is not str:
            text = cast_to(str, text)
            if isinstance(text, Failure):
                return failed(False, text)  # noqa: FBT003
        return matches(text) is wanted

    return is_like


def _in(node: syntax.In) -> Evaluation:
    """Look for an element that is equal after its cast to the type of what is looked for."""
    operand, elements = compiled(node.operand), tuple(map(compiled, node.elements))
    wanted = not node.negated
    texts = _literal_texts(node)

    def is_in(event: Event) -> Any:
        x = operand(event)
        if type(x) is str and texts is not None:
            return (x in texts) is wanted
        if isinstance(x, Failure):
            return failed(False, x)  # noqa: FBT003
        for element in elements:
            y = cast_like(x, element(event))
            if isinstance(y, Failure):
                return failed(False, y)  # noqa: FBT003
            if x == y:
                return wanted
        return not wanted

    return is_in


def _literal_texts(node: syntax.In) -> frozenset[Any] | None:
    """Return the elements as texts, when all are literals."""
    literals = [one for one in node.elements if isinstance(one, syntax.Literal)]
    if len(literals) < len(node.elements):
        return None
    return frozenset(CASTS[str](one.value) for one in literals)


def _call(node: syntax.Call) -> Evaluation:
    found = function(node.name, len(node.arguments))
    if found is None:
        missing = failure(
            False,  # noqa: FBT003
            ErrorKind.MISSING_FUNCTION,
            f"no {node.name} of {len(node.arguments)} arguments",
        )
        return lambda _: missing
    kinds = [*found.parameters]
    if found.rest is not None:
        kinds += [found.rest] * (len(node.arguments) - len(kinds))
    arguments = tuple(zip(kinds, map(compiled, node.arguments), strict=True))
    body, zero = found.body, ZEROS[found.returns]

    def call(event: Event) -> Any:
        values = [cast_to(kind, argument(event)) for kind, argument in arguments]
        if any(isinstance(value, Failure) for value in values):
            return failed(zero, *values)
        return body(*values)

    return call
