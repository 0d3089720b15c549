"""Values of requests become values of columns."""

from collections.abc import Callable, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from lineshaft_job_runner.job_type import ColumnType

INTEGER_MAX = 2**63 - 1
TEXT_MAX = 10_000
DECIMAL_DIGITS_MAX = 1_000
"""Before and after the point together: PostgreSQL takes far more, and nobody means it."""


def typed(kind: ColumnType, value: Any) -> Any:
    """Return the value as its column holds it; raises ValueError when it is of another type."""
    try:
        return READERS[kind](value)
    except InvalidOperation:
        raise ValueError from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or "\0" in value:
        raise ValueError
    if not value.isascii():
        value.encode()  # A lone surrogate is no text; its UnicodeError is a ValueError.
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INTEGER_MAX:
        raise ValueError
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    number = Decimal(str(value))
    if not number.is_finite() or abs(number.adjusted()) > DECIMAL_DIGITS_MAX:
        raise ValueError
    return number


def _timestamp(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError
    return moment


def _date(value: Any) -> date:
    day = date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, date) or isinstance(day, datetime):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    return day


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    return value


READERS: Mapping[ColumnType, Callable[[Any], Any]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.DOUBLE: lambda value: float(_decimal(value)),
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.BOOLEAN: _boolean,
}
EXPECTED: Mapping[ColumnType, str] = {
    ColumnType.TEXT: f"text of at most {TEXT_MAX} characters",
    ColumnType.INTEGER: "a whole number",
    ColumnType.DECIMAL: "a decimal number",
    ColumnType.DOUBLE: "a number",
    ColumnType.TIMESTAMP: "ISO 8601 text with a zone, such as 2026-11-24T06:00:00Z",
    ColumnType.DATE: "an ISO 8601 date, such as 2026-11-24",
    ColumnType.BOOLEAN: "true or false",
}
