"""How old a response is and how long it stays fresh (RFC 9111 section 4.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lineshaft_cdn_edge.directives import SECONDS_MAX, Directives, delta_seconds
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.http_date import parse_date

HEURISTIC_STATUSES = frozenset({200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501})
"""Cacheable without explicit freshness (RFC 9110 section 15.1)."""


class Basis(StrEnum):
    """Where a freshness lifetime comes from."""

    EXPLICIT = "explicit"
    """The origin said it, which includes saying zero."""
    HEURISTIC = "heuristic"
    """Guessed from the age of the last modification."""
    POLICY = "policy"
    """The operator's rule for this kind of asset; the origin was silent."""
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """How many seconds from its generation a response may be used without validation."""

    seconds: float
    basis: Basis


def age_value(lines: Sequence[str], *, invalid_is_stale: bool) -> int:
    """Read the Age field: of a list the first member, of what is no age nothing.

    With `invalid_is_stale` anything but one whole number counts as the greatest age instead,
    which RFC 9111 section 5.1 allows and older test suites ask for.
    """
    if not lines:
        return 0
    first, *rest = (part.strip() for line in lines for part in line.split(","))
    seconds = delta_seconds(first)
    if seconds is None or (rest and invalid_is_stale):
        return SECONDS_MAX if invalid_is_stale else 0
    return seconds


def initial_age(
    *,
    age_seconds: int,
    date: float | None,
    request_time: float,
    response_time: float,
) -> float:
    """Age at the moment the response arrived (RFC 9111 section 4.2.3), never negative.

    A Date that lies in the future counts as now: a fast origin clock does not make a response
    younger than new. A slow one makes it look older, which errs on the side of validation.
    """
    apparent = max(0.0, response_time - date) if date is not None else 0.0
    delay = max(0.0, response_time - request_time)
    return min(max(apparent, age_seconds + delay), float(SECONDS_MAX))


def explicit_lifetime(
    directives: Directives, fields: Fields, *, date: float, now: float, targeted: bool
) -> float | None:
    """Seconds that the origin grants a shared cache, or None when it does not say.

    s-maxage before max-age before Expires minus Date. A targeted field stands alone: with it,
    Expires has no say. An Expires that is no date, or comes twice, lies in the past.
    """
    for name in ("s-maxage", "max-age"):
        seconds = directives.seconds(name)
        if seconds is not None:
            return float(seconds)
    lines = fields.getall("expires", [])
    if targeted or not lines:
        return None
    expires = parse_date(lines[0], now=now) if len(set(lines)) == 1 else None
    return 0.0 if expires is None else max(0.0, expires - date)


def heuristic_lifetime(
    fields: Fields, *, date: float, now: float, fraction: float, seconds_max: float
) -> float:
    """Take a bounded fraction of the time since Last-Modified; 0 without one (section 4.2.2)."""
    modified = parse_date(fields.get("last-modified"), now=now)
    if modified is None or modified >= date:
        return 0.0
    return min((date - modified) * fraction, seconds_max)
