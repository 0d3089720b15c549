"""Header fields: how they are held, and which of them must not travel on."""

from collections.abc import Iterable
from typing import TypeAlias

from multidict import CIMultiDict

Fields: TypeAlias = CIMultiDict[str]
"""Names compare without case; lines of one name stay apart and in order."""

HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authentication-info",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Fields of one connection (RFC 9110 section 7.6.1); Connection may name more."""


def combined(fields: Fields, name: str) -> str | None:
    """All lines of a field as one list value, or None when it is absent."""
    lines = fields.getall(name, [])
    return ", ".join(lines) if lines else None


def members(lines: Iterable[str]) -> list[str]:
    """Split the comma-separated members of a field that has no quoted strings."""
    return [member for line in lines for part in line.split(",") if (member := part.strip())]


def end_to_end(fields: Fields) -> Fields:
    """Copy without hop-by-hop fields and without those that Connection lists."""
    dropped = HOP_BY_HOP | {name.lower() for name in members(fields.getall("connection", []))}
    return CIMultiDict(
        (name, value) for name, value in fields.items() if name.lower() not in dropped
    )


def without(fields: Fields, names: Iterable[str]) -> Fields:
    """Copy without the fields of these lower-case names."""
    dropped = frozenset(names)
    return CIMultiDict(
        (name, value) for name, value in fields.items() if name.lower() not in dropped
    )


def size_bytes(fields: Fields) -> int:
    """Bytes that the fields take on the wire."""
    return sum(len(name) + len(value) + 4 for name, value in fields.items())
