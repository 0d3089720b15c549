"""What a payload pattern may ask of one value: exact, prefix, numeric range and so on.

The words are those of Amazon EventBridge (event-ruler). `decimal` is ours: quantities travel as
decimal text, so that nothing is rounded, and ranges of them are asked for just as exactly.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from math import isfinite
from typing import Any, TypeAlias, cast

from lineshaft_event_router.filters.wildcards import WildcardError, asterisks, matcher

Test: TypeAlias = Callable[[Any], bool]
"""Of one leaf value: a text, a number, a boolean or None for JSON's null."""

LIST_MAX = 128
TEXT_MAX = 1_000
ADDRESS_LENGTH_MAX = 45

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_NUMBERS = frozenset({int, float})
_DECIMAL = re.compile(r"[+-]?[0-9]{1,18}(\.[0-9]{1,18})?", re.ASCII)


class ConditionError(ValueError):
    """The condition is not valid; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One entry of a field's list."""

    keyword: str
    """`exact` for a plain value."""
    operand: Any
    test: Test
    absent: bool = False
    """Whether it asks for a field that is not there."""


def condition(wanted: Any) -> Condition:
    """Read an entry of a field's list; raises ConditionError."""
    if not isinstance(wanted, dict):
        return Condition(keyword="exact", operand=wanted, test=_exactly(_plain(wanted)))
    entry = cast("dict[str, Any]", wanted)
    if len(entry) != 1:
        raise ConditionError("a condition is a plain value or an object with exactly one key")
    ((keyword, operand),) = entry.items()
    read = _KEYWORDS.get(keyword)
    if read is None:
        raise ConditionError(f"{keyword[:40]!r} is not one of {', '.join(_KEYWORDS)}")
    absent = keyword == "exists" and operand is False
    return Condition(keyword=keyword, operand=operand, test=read(operand), absent=absent)


def is_number(value: Any) -> bool:
    """Tell a JSON number; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def same(one: Any, other: Any) -> bool:
    """Compare two leaf values as JSON does: 1 and 1.0 are equal, 1 and true are not."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, empty=True)
    if is_number(value) and isfinite(value):
        return value
    raise ConditionError("a plain value is a text, a number, true, false or null")


def _text(value: Any, *, empty: bool = False) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or not (value or empty):
        raise ConditionError(f"must be a text of 1 to {TEXT_MAX} characters")
    return value


def _exactly(wanted: Any) -> Test:
    return lambda value: same(value, wanted)


def _prefix(operand: Any) -> Test:
    if isinstance(operand, dict):
        folded = _folded(cast("dict[str, Any]", operand))
        return lambda value: isinstance(value, str) and value.lower().startswith(folded)
    text = _text(operand)
    return lambda value: isinstance(value, str) and value.startswith(text)


def _suffix(operand: Any) -> Test:
    if isinstance(operand, dict):
        folded = _folded(cast("dict[str, Any]", operand))
        return lambda value: isinstance(value, str) and value.lower().endswith(folded)
    text = _text(operand)
    return lambda value: isinstance(value, str) and value.endswith(text)


def _folded(operand: dict[str, Any]) -> str:
    if list(operand) != ["equals-ignore-case"]:
        raise ConditionError('must be a text or {"equals-ignore-case": text}')
    return _text(operand["equals-ignore-case"]).lower()


def _ignoring_case(operand: Any) -> Test:
    folded = _text(operand, empty=True).lower()
    return lambda value: isinstance(value, str) and value.lower() == folded


def _wildcard(operand: Any) -> Test:
    try:
        matches = matcher(asterisks(_text(operand)))
    except WildcardError as error:
        raise ConditionError(str(error)) from None
    return lambda value: isinstance(value, str) and matches(value)


def _exists(operand: Any) -> Test:
    if not isinstance(operand, bool):
        raise ConditionError("must be true or false")
    return lambda _: operand


def _numeric(operand: Any) -> Test:
    def number(value: Any) -> Any:
        if not is_number(value) or not isfinite(value):
            raise ConditionError("a bound must be a number")
        return value

    within = _within(operand, number)
    return lambda value: value.__class__ in _NUMBERS and within(value)


def _decimal(operand: Any) -> Test:
    def bound(value: Any) -> Decimal:
        if is_number(value) and isinstance(value, int):
            value = str(value)
        found = _as_decimal(value)
        if found is None:
            raise ConditionError('a bound must be a decimal number as text, such as "0.25"')
        return found

    within = _within(operand, bound)

    def test(value: Any) -> bool:
        number = _as_decimal(value)
        return number is not None and within(number)

    return test


def _as_decimal(value: Any) -> Decimal | None:
    return Decimal(value) if isinstance(value, str) and _DECIMAL.fullmatch(value) else None


def _within(operand: Any, read: Callable[[Any], Any]) -> Test:
    """Read `[">", 0, "<=", 5]`: one comparison, or a lower and an upper bound."""
    parts = cast("list[Any]", operand) if isinstance(operand, list) else []
    if len(parts) not in {2, 4}:
        raise ConditionError('must be a list such as [">", 0] or [">=", 0, "<", 10]')
    signs = [sign if isinstance(sign, str) else "" for sign in parts[::2]]
    bounds = [read(bound) for bound in parts[1::2]]
    if not all(sign in _ORDERS for sign in signs):
        raise ConditionError(f"a comparison is one of {' '.join(_ORDERS)}")
    if len(signs) == 1:
        (order,), (bound,) = (_ORDERS[sign] for sign in signs), bounds
        return lambda value: order(value, bound)
    if {sign[0] for sign in signs} != {"<", ">"}:
        raise ConditionError("two comparisons are a lower and an upper bound")
    first, second = (_ORDERS[sign] for sign in signs)
    lowest, highest = bounds if signs[0][0] == ">" else reversed(bounds)
    if lowest > highest:
        raise ConditionError("the lower bound is above the upper one")
    one, other = bounds
    return lambda value: first(value, one) and second(value, other)


def _cidr(operand: Any) -> Test:
    try:
        network = ip_network(_text(operand), strict=False)
    except ValueError:
        raise ConditionError("must be an IP network such as 10.0.0.0/24") from None
    return lambda value: isinstance(value, str) and _is_inside(value, network)


def _is_inside(text: str, network: IPv4Network | IPv6Network) -> bool:
    if len(text) > ADDRESS_LENGTH_MAX:
        return False
    try:
        return ip_address(text) in network
    except ValueError:
        return False


def _anything_but(operand: Any) -> Test:
    if isinstance(operand, dict):
        entry = cast("dict[str, Any]", operand)
        if len(entry) != 1 or not set(entry) <= _REFUSING.keys():
            raise ConditionError(f"must be of one key, one of {', '.join(_REFUSING)}")
        ((keyword, texts),) = entry.items()
        return _none_of(_REFUSING[keyword](text) for text in _listed(texts))
    values = _listed(operand)
    if len({isinstance(value, str) for value in values}) != 1:
        raise ConditionError("must be texts alone or numbers alone")
    if not all(isinstance(value, str) or is_number(value) for value in values):
        raise ConditionError("must be texts or numbers")
    return _none_of(_exactly(_plain(value)) for value in values)


def _listed(operand: Any) -> Sequence[Any]:
    values = cast("list[Any]", operand) if isinstance(operand, list) else [operand]
    if not 1 <= len(values) <= LIST_MAX:
        raise ConditionError(f"must be 1 to {LIST_MAX} values")
    return values


def _none_of(tests: Iterable[Test]) -> Test:
    listed = tuple(tests)
    if len(listed) == 1:
        (only,) = listed
        return lambda value: not only(value)
    return lambda value: not any(test(value) for test in listed)


_REFUSING: Mapping[str, Callable[[Any], Test]] = {
    "prefix": lambda operand: _prefix(_text(operand)),
    "suffix": lambda operand: _suffix(_text(operand)),
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
}
_KEYWORDS: Mapping[str, Callable[[Any], Test]] = {
    "prefix": _prefix,
    "suffix": _suffix,
    "equals-ignore-case": _ignoring_case,
    "wildcard": _wildcard,
    "anything-but": _anything_but,
    "numeric": _numeric,
    "decimal": _decimal,
    "exists": _exists,
    "cidr": _cidr,
}
