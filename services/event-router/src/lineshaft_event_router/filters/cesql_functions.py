"""The built-in functions of CloudEvents SQL (version 1.0, section 3.5)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lineshaft_event_router.filters.cesql_values import (
    INTEGER_MAX,
    INTEGER_MIN,
    ErrorKind,
    Result,
    failure,
)

WHITESPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""The characters with the Unicode property White_Space."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Function:
    """What a name with so many arguments means."""

    parameters: tuple[type, ...]
    """Arguments are cast to these types."""
    rest: type | None = None
    """The type of any further arguments; None when there may be none."""
    returns: type
    body: Callable[..., Result]


def _left(text: str, length: int) -> Result:
    if length < 0:
        return failure(text, ErrorKind.FUNCTION_EVALUATION, "LEFT of a negative length")
    return text[:length]


def _right(text: str, length: int) -> Result:
    if length < 0:
        return failure(text, ErrorKind.FUNCTION_EVALUATION, "RIGHT of a negative length")
    return text[max(0, len(text) - length) :]


def _substring(text: str, position: int, length: int = INTEGER_MAX) -> Result:
    if abs(position) > len(text) or length < 0:
        return failure("", ErrorKind.FUNCTION_EVALUATION, "SUBSTRING outside of the text")
    if position == 0:
        return ""
    start = position - 1 if position > 0 else len(text) + position
    return text[start : start + length]


def _absolute(number: int) -> Result:
    if number == INTEGER_MIN:
        return failure(INTEGER_MAX, ErrorKind.MATH, "ABS of the most negative integer")
    return abs(number)


def _concatenate(*texts: str) -> Result:
    return "".join(texts)


def _join(delimiter: str, *texts: str) -> Result:
    return delimiter.join(texts)


def _trim(text: str) -> Result:
    return text.strip(WHITESPACE)


def _same(value: Any) -> Result:
    return value


FUNCTIONS: Mapping[str, tuple[Function, ...]] = {
    "LENGTH": (Function(parameters=(str,), returns=int, body=len),),
    "CONCAT": (Function(parameters=(), rest=str, returns=str, body=_concatenate),),
    "CONCAT_WS": (Function(parameters=(str,), rest=str, returns=str, body=_join),),
    "LOWER": (Function(parameters=(str,), returns=str, body=str.lower),),
    "UPPER": (Function(parameters=(str,), returns=str, body=str.upper),),
    "TRIM": (Function(parameters=(str,), returns=str, body=_trim),),
    "LEFT": (Function(parameters=(str, int), returns=str, body=_left),),
    "RIGHT": (Function(parameters=(str, int), returns=str, body=_right),),
    "SUBSTRING": (
        Function(parameters=(str, int), returns=str, body=_substring),
        Function(parameters=(str, int, int), returns=str, body=_substring),
    ),
    "ABS": (Function(parameters=(int,), returns=int, body=_absolute),),
    "INT": (Function(parameters=(int,), returns=int, body=_same),),
    "BOOL": (Function(parameters=(bool,), returns=bool, body=_same),),
    "STRING": (Function(parameters=(str,), returns=str, body=_same),),
}
"""By name in upper case."""


def function(name: str, arguments: int) -> Function | None:
    """Look up a function by its name and the number of its arguments."""
    for one in FUNCTIONS.get(name, ()):
        exact = len(one.parameters) == arguments
        if exact or (one.rest is not None and len(one.parameters) < arguments):
            return one
    return None
