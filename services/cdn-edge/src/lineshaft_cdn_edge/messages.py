"""A request as the edge sees it and the response it gives, free of any HTTP library."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from lineshaft_cdn_edge.fields import Fields

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Result(StrEnum):
    """What the cache did for a request; the label of its counters."""

    HIT = "hit"
    STALE = "stale"
    REVALIDATED = "revalidated"
    MISS = "miss"
    BYPASS = "bypass"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request whose head has been read; `body` is None when it has none."""

    method: str
    target: str
    """As on the request line: a path with query, or an absolute URL."""
    authority: str
    """The Host field; empty when absent."""
    fields: Fields
    body: AsyncIterator[bytes] | None = None
    client: str = ""
    """Address that the request came from."""


class Body(Protocol):
    """A body on its way: iterate it to the end, or close it."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield chunks; raises OriginError when the rest never comes."""
        ...

    async def close(self) -> None:
        """Give up what has not been read; harmless after the end."""
        ...


@dataclass(frozen=True, kw_only=True)
class Response:
    """An answer; `body` is whole bytes, or a stream that has to be read or closed.

    Without a body of its own (HEAD, 304) `length` is what Content-Length announces.
    """

    status: int
    reason: str = ""
    fields: Fields
    body: bytes | Body = b""
    length: int | None = None
    """Bytes of the body, or that it would have; None when only the end will tell."""
    result: Result
    asset_class: str
    saved_bytes: int = 0
    """How much longer the body would have been without compression."""
