"""Parts of a stored body, for requests with Range (RFC 9110 section 14)."""

import re
from dataclasses import dataclass
from hashlib import sha256
from itertools import pairwise

RANGES_MAX = 16
"""More parts than this are a nuisance or an attack; the whole body is sent instead."""

_SET = re.compile(r"\s*bytes\s*=(?P<specs>.*)", re.IGNORECASE)
_SPEC = re.compile(r"(?P<first>[0-9]{0,18})-(?P<last>[0-9]{0,18})", re.ASCII)


class UnsatisfiableError(ValueError):
    """No part of the body is in any of the ranges asked for."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Bytes `first` to `last`, both included."""

    first: int
    last: int

    def content_range(self, length: int) -> str:
        """Write Content-Range."""
        return f"bytes {self.first}-{self.last}/{length}"


def parts_of(value: str, length: int) -> list[Part] | None:
    """Parse Range against a body of this length; None means: ignore it and send everything.

    Unknown units, malformed sets, too many and overlapping parts are ignored. Raises
    UnsatisfiableError when the set is well-formed and nothing of it exists.
    """
    found = _SET.fullmatch(value)
    specs = [spec.strip() for spec in found["specs"].split(",")] if found else []
    specs = [spec for spec in specs if spec]
    if not specs or len(specs) > RANGES_MAX:
        return None
    parts: list[Part] = []
    for spec in specs:
        bounds = _SPEC.fullmatch(spec)
        if bounds is None or (not bounds["first"] and not bounds["last"]):
            return None
        if bounds["first"] and bounds["last"] and int(bounds["last"]) < int(bounds["first"]):
            return None
        part = _part(bounds["first"], bounds["last"], length)
        if part:
            parts.append(part)
    if not parts:
        raise UnsatisfiableError
    return None if _overlap(parts) else parts


def _part(first: str, last: str, length: int) -> Part | None:
    if not first:
        start, end = max(0, length - int(last)), length - 1
        return Part(first=start, last=end) if start <= end else None
    start = int(first)
    end = min(int(last), length - 1) if last else length - 1
    return Part(first=start, last=end) if start <= end else None


def _overlap(parts: list[Part]) -> bool:
    ordered = sorted(parts, key=lambda part: part.first)
    return any(following.first <= part.last for part, following in pairwise(ordered))


def multipart(body: bytes, parts: list[Part], content_type: str | None) -> tuple[bytes, str]:
    """Join several parts as multipart/byteranges; returns the body and its Content-Type."""
    length = len(body)
    boundary = sha256(body[:4096] + repr(parts).encode()).hexdigest()[:32]
    pieces: list[bytes] = []
    for part in parts:
        head = f"--{boundary}\r\n"
        if content_type:
            head += f"Content-Type: {content_type}\r\n"
        head += f"Content-Range: {part.content_range(length)}\r\n\r\n"
        pieces += [head.encode("latin-1", "replace"), body[part.first : part.last + 1], b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return b"".join(pieces), f"multipart/byteranges; boundary={boundary}"
