"""Values, errors and casts of CloudEvents SQL (version 1.0, sections 3.1, 3.3 and 3.7)."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

INTEGER_MIN = -(2**31)
INTEGER_MAX = 2**31 - 1

Value: TypeAlias = str | int | bool
_INTEGER = re.compile(r"[+-]?0*[0-9]{1,10}", re.ASCII)


class ErrorKind(StrEnum):
    """The kinds of section 3.3, by their names in the conformance suite."""

    PARSE = "parse"
    MATH = "math"
    CAST = "cast"
    MISSING_ATTRIBUTE = "missingAttribute"
    MISSING_FUNCTION = "missingFunction"
    FUNCTION_EVALUATION = "functionEvaluation"
    GENERIC = "generic"


@dataclass(frozen=True, slots=True)
class CesqlError:
    """One error of an evaluation."""

    kind: ErrorKind
    message: str


class Failure:
    """A value that comes with errors: what an operator or function returns when it met one."""

    __slots__ = ("errors", "value")

    def __init__(self, value: Value, *errors: CesqlError) -> None:
        self.value = value
        self.errors = errors


Result: TypeAlias = Value | Failure


def failure(value: Value, kind: ErrorKind, message: str) -> Failure:
    """Make the result of an operation that met an error of its own."""
    return Failure(value, CesqlError(kind, message))


def failed(zero: Value, *results: Result) -> Failure:
    """Make the result of an operation whose operands met errors: its zero, and all of those."""
    errors = [error for one in results if isinstance(one, Failure) for error in one.errors]
    return Failure(zero, *errors)


def to_text(value: Value) -> str:
    """Cast to String, which always works."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def to_integer(value: Value) -> int | Failure:
    """Cast to Integer."""
    if isinstance(value, int):
        return int(value)
    if _INTEGER.fullmatch(value):
        sign = -1 if value[0] == "-" else 1
        number = sign * int(value.lstrip("+-").lstrip("0") or "0")
        if INTEGER_MIN <= number <= INTEGER_MAX:
            return number
    return failure(0, ErrorKind.CAST, f"{value[:40]!r} is no 32-bit integer")


def to_boolean(value: Value) -> bool | Failure:
    """Cast to Boolean."""
    if isinstance(value, int):
        return value != 0
    lower = value.lower()
    if lower in {"true", "false"}:
        return lower == "true"
    return failure(False, ErrorKind.CAST, f"{value[:40]!r} is no boolean")  # noqa: FBT003


CASTS: dict[type, Callable[[Value], Result]] = {
    str: to_text,
    int: to_integer,
    bool: to_boolean,
}
"""By the type that is wanted."""
ZEROS: dict[type, Value] = {str: "", int: 0, bool: False}


def primitive(value: object) -> Value:
    """Read an attribute: what is no primitive of CESQL is a String (section 3.2)."""
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int) and INTEGER_MIN <= value <= INTEGER_MAX:
        return value
    return str(value)


def within_32_bits(number: int) -> Result:
    """Return the result of integer arithmetic, or a MathError when it does not fit."""
    if INTEGER_MIN <= number <= INTEGER_MAX:
        return number
    return failure(0, ErrorKind.MATH, "the result does not fit 32 bits")


def cast_to(kind: type, result: Result) -> Result:
    """Cast the result of an operand; its errors stay."""
    if type(result) is kind or isinstance(result, Failure):
        return result
    return CASTS[kind](result)


def cast_like(other: Value, result: Result) -> Result:
    """Cast the result of an operand to the type of another value; its errors stay."""
    kind: type = other.__class__
    return result if result.__class__ is kind else cast_to(kind, result)
