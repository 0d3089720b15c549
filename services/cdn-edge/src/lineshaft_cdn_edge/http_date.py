"""Read and write the dates of HTTP fields (RFC 9110 section 5.6.7)."""

import re
from datetime import UTC, datetime
from email.utils import formatdate

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_CLOCK = r"(?P<hour>\d\d):(?P<minute>\d\d):(?P<second>\d\d)"
_FORMS = tuple(
    re.compile(form, re.ASCII | re.IGNORECASE)
    for form in (
        rf"[a-z]{{3}}, (?P<day>\d\d) (?P<month>[a-z]{{3}}) (?P<year>\d{{4}}) {_CLOCK} GMT",
        rf"[a-z]{{6,9}}, (?P<day>\d\d)-(?P<month>[a-z]{{3}})-(?P<year>\d\d) {_CLOCK} GMT",
        rf"[a-z]{{3}} (?P<month>[a-z]{{3}}) (?P<day>[ \d]\d) {_CLOCK} (?P<year>\d{{4}})",
    )
)
_LONGEST = 40


def parse_date(text: str | None, *, now: float) -> float | None:
    """Read any of the three forms as seconds since the epoch, or None when it is no date.

    Strict on purpose: an Expires that is no valid date means that the response is stale.
    A two-digit year is taken as the nearest one that lies less than 50 years ahead of `now`.
    """
    if text is None or len(text) > _LONGEST:
        return None
    for form in _FORMS:
        found = form.fullmatch(text.strip())
        if found:
            return _moment(found, now)
    return None


def _moment(found: re.Match[str], now: float) -> float | None:
    month = found["month"].lower()
    if month not in _MONTHS:
        return None
    year = int(found["year"])
    if len(found["year"]) == 2:
        this_year = datetime.fromtimestamp(now, UTC).year
        year += this_year - this_year % 100
        if year - this_year > 50:
            year -= 100
    try:
        moment = datetime(
            year,
            _MONTHS.index(month) + 1,
            int(found["day"]),
            int(found["hour"]),
            int(found["minute"]),
            min(int(found["second"]), 59),
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return moment.timestamp()


def format_date(moment: float) -> str:
    """Write seconds since the epoch in the preferred form, IMF-fixdate."""
    return formatdate(moment, usegmt=True)
