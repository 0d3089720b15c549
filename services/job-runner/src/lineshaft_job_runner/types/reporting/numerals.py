"""How numbers and times are written for the readers of a report."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any
from zoneinfo import ZoneInfo

from lineshaft_job_runner.types.reporting.document import Form

SPACE = "\u00a0"
SEPARATORS = {
    "en": (",", "."),
    "cs": (SPACE, ","),
    "da": (".", ","),
    "de": (".", ","),
    "de-AT": (SPACE, ","),
    "de-CH": ("\u2019", "."),
    "es": (".", ","),
    "fi": (SPACE, ","),
    "fr": (SPACE, ","),
    "it": (".", ","),
    "nb": (SPACE, ","),
    "nl": (".", ","),
    "pl": (SPACE, ","),
    "pt": (".", ","),
    "ru": (SPACE, ","),
    "sv": (SPACE, ","),
    "tr": (".", ","),
}
"""Grouping and decimal sign by language tag, from the Unicode CLDR."""

ABSENT = "\u2013"


class Numerals:
    """Writes values in one locale and one time zone; dates are ISO 8601 everywhere."""

    def __init__(self, locale: str, zone: ZoneInfo) -> None:
        language = locale.split("-", maxsplit=1)[0]
        found = SEPARATORS.get(locale) or SEPARATORS.get(language)
        self.known = found is not None
        self._grouping, self._decimal = found or SEPARATORS["en"]
        self._zone = zone

    def writer(self, form: Form) -> Callable[[Any], str]:
        """Return what writes values of a form."""
        writers: dict[Form, Callable[[Any], str]] = {
            Form.TEXT: _text,
            Form.COUNT: self.integer,
            Form.AMOUNT: self.decimal,
            Form.MEASURE: self.measure,
            Form.INDEX: partial(self.decimal, digits=2),
            Form.RATIO: self.percent,
            Form.MOMENT: self.moment,
        }
        return writers[form]

    def local(self, value: datetime) -> datetime:
        """Return the wall clock at an instant, without its zone."""
        return value.astimezone(self._zone).replace(tzinfo=None)

    def zoned_iso(self, value: datetime) -> str:
        """Write an instant for programs: ISO 8601 with the offset of the zone."""
        return value.astimezone(self._zone).isoformat()

    def integer(self, value: int | None) -> str:
        """Write a whole number with grouped thousands."""
        return ABSENT if value is None else f"{value:,}".replace(",", self._grouping)

    def decimal(self, value: Decimal | float | None, digits: int = 1) -> str:
        """Write a number with a fixed count of decimals."""
        if value is None:
            return ABSENT
        whole, _, fraction = f"{value:,.{digits}f}".partition(".")
        return whole.replace(",", self._grouping) + (self._decimal + fraction if fraction else "")

    def measure(self, value: float | None) -> str:
        """Write a number with six significant digits."""
        return ABSENT if value is None else f"{value:.6g}".replace(".", self._decimal)

    def percent(self, ratio: float | None) -> str:
        """Write a ratio, 0 to 1, as a percentage."""
        return ABSENT if ratio is None else f"{self.decimal(ratio * 100)}{SPACE}%"

    def moment(self, value: datetime | None) -> str:
        """Write a local date and time to the minute."""
        return ABSENT if value is None else f"{value.astimezone(self._zone):%Y-%m-%d %H:%M}"

    def hour(self, value: datetime) -> str:
        """Write a local time of day."""
        return f"{value.astimezone(self._zone):%H:%M}"

    def zoned(self, value: datetime) -> str:
        """Write a local date and time with the name of its zone."""
        return f"{value.astimezone(self._zone):%Y-%m-%d %H:%M %Z}"


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)
