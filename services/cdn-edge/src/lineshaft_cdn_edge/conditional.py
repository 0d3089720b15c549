"""Validation: is what somebody holds still right (RFC 9110 section 13, RFC 9111 section 4.3)."""

import re

from lineshaft_cdn_edge.fields import Fields, combined, without
from lineshaft_cdn_edge.http_date import parse_date

CONDITIONS = frozenset(
    {"if-none-match", "if-modified-since", "if-match", "if-unmodified-since", "if-range"}
)
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_NOT_UPDATED = frozenset(
    {
        "content-encoding",
        "content-length",
        "content-md5",
        "content-range",
        "etag",
        "transfer-encoding",
        "age",
        "cache-status",
    }
)
"""A 304 says nothing new about these: they belong to the body that is kept."""


def opaque(tag: str) -> str:
    """Strip a tag of its weakness, for the weak comparison."""
    return tag.removeprefix("W/")


def is_strong(tag: str | None) -> bool:
    """Whether a tag names one exact sequence of bytes."""
    return tag is not None and tag.startswith('"')


def weak(tag: str) -> str:
    """Make the tag for another form with the same meaning, such as a compressed one."""
    return tag if tag.startswith("W/") else f"W/{tag}"


def is_not_modified(request: Fields, response: Fields, *, now: float) -> bool:
    """Whether a client holds what would be sent; If-None-Match decides alone when present.

    Without Last-Modified the response's Date is compared (RFC 9111 section 4.3.2).
    """
    wanted = combined(request, "if-none-match")
    if wanted is not None:
        tag = response.get("etag")
        if wanted.strip() == "*":
            return True
        held = {opaque(found) for found in _TAG.findall(wanted)}
        return tag is not None and opaque(tag) in held
    since = parse_date(request.get("if-modified-since"), now=now)
    if since is None:
        return False
    modified = parse_date(response.get("last-modified") or response.get("date"), now=now)
    return modified is not None and modified <= since


def allows_range(request: Fields, response: Fields, *, now: float) -> bool:
    """Whether If-Range, when given, still names the response; by a strong validator only."""
    condition = request.get("if-range")
    if condition is None:
        return True
    condition = condition.strip()
    if condition.endswith('"'):
        return is_strong(condition) and condition == response.get("etag")
    modified = response.get("last-modified")
    if modified is None or modified.strip() != condition:
        return False
    moment = parse_date(modified, now=now)
    date = parse_date(response.get("date"), now=now)
    return moment is not None and date is not None and moment < date


def conditions_for(response: Fields) -> list[tuple[str, str]]:
    """Request fields that ask the origin whether a stored response is still right."""
    conditions: list[tuple[str, str]] = []
    if "etag" in response:
        conditions.append(("If-None-Match", response["etag"]))
    if "last-modified" in response:
        conditions.append(("If-Modified-Since", response["last-modified"]))
    return conditions


def confirms(stored: Fields, answer: Fields) -> bool:
    """Whether a 304 is about the stored response.

    One with another strong tag is not: it must not freshen what is stored (RFC 9111
    section 4.3.4), and combining the two would mix versions.
    """
    tag = answer.get("etag")
    if tag is None:
        return True
    held = stored.get("etag")
    if is_strong(tag):
        return tag == held
    return held is None or opaque(tag) == opaque(held)


def freshened(stored: Fields, answer: Fields) -> Fields:
    """Merge: the stored fields, replaced by those of a 304 wherever it may speak for them."""
    news = without(answer, _NOT_UPDATED)
    fields = without(stored, {name.lower() for name in news} | {"age"})
    fields.extend(news)
    return fields
