"""Conditional and range requests on one file (RFC 9110, sections 13 and 14)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

_RANGE = re.compile(r"^bytes=\s*([0-9]{0,19})-([0-9]{0,19})\s*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Selection:
    """What to answer: bytes `start` to `end` (exclusive) of `size`, or none of them."""

    status: Literal[200, 206, 304, 412, 416]
    start: int
    end: int
    size: int

    def headers(self) -> dict[str, str]:
        """Write the fields that say which part it is."""
        match self.status:
            case 206:
                return {"Content-Range": f"bytes {self.start}-{self.end - 1}/{self.size}"}
            case 416:
                return {"Content-Range": f"bytes */{self.size}"}
            case _:
                return {}


def select(headers: Mapping[str, str], *, method: str, size: int, etag: str) -> Selection:
    """Decide what a request asks of a file.

    Several ranges, unknown units and malformed ranges are answered with the whole file, as the
    RFC allows; `etag` is strong and quoted.
    """
    whole = Selection(status=200, start=0, end=size, size=size)
    if "If-Match" in headers and not _lists(headers["If-Match"], etag, weak=False):
        return Selection(status=412, start=0, end=0, size=size)
    if "If-None-Match" in headers and _lists(headers["If-None-Match"], etag, weak=True):
        return Selection(status=304, start=0, end=0, size=size)
    match = _RANGE.match(headers.get("Range", ""))
    if match is None or match[0].strip().endswith("=-") or method != "GET":
        return whole
    # Without Last-Modified no date can be strong enough for If-Range: only the tag counts.
    if "If-Range" in headers and headers["If-Range"].strip() != etag:
        return whole
    return _part(match[1], match[2], whole)


def _part(first: str, last: str, whole: Selection) -> Selection:
    size = whole.size
    if first and last and int(last) < int(first):
        return whole
    start = int(first) if first else max(0, size - int(last))
    end = min(size, int(last) + 1) if first and last else size
    if start >= size or (not first and int(last) == 0):
        return Selection(status=416, start=0, end=0, size=size)
    return Selection(status=206, start=start, end=end, size=size)


def _lists(field: str, etag: str, *, weak: bool) -> bool:
    if field.strip() == "*":
        return True
    tags = {tag.strip() for tag in field.split(",")}
    if weak:
        tags = {tag.removeprefix("W/") for tag in tags}
    return etag in tags
