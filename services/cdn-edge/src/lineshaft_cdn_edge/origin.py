"""What the edge needs of an origin: one response for one request, or the reason why not."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.messages import Body


class OriginError(Exception):
    """The origin gave no complete response."""

    reason: ClassVar[str] = "invalid"
    status: ClassVar[int] = 502


class OriginTimeoutError(OriginError):
    """The origin did not answer in time."""

    reason = "timeout"
    status = 504


class OriginUnreachableError(OriginError):
    """No connection to the origin could be made, or it closed before answering."""

    reason = "unreachable"


class OriginTruncatedError(OriginError):
    """The origin's response ended before its announced end."""

    reason = "truncated"


class OriginInvalidError(OriginError):
    """The origin's answer is not valid HTTP."""


class OriginOverloadedError(OriginError):
    """Every connection to the origin is busy and none became free in time."""

    reason = "overloaded"
    status = 503


@dataclass(frozen=True, kw_only=True)
class OriginRequest:
    """What is asked of the origin; `host` is empty when the origin's own name is to be used."""

    method: str
    target: str
    host: str = ""
    fields: Fields
    body: AsyncIterator[bytes] | None = None
    client: str = ""
    """Address of the client on whose behalf it is asked."""
    fills: bool = False
    """Whether the answer is meant for the cache, rather than for that client alone."""


class OriginResponse(Protocol):
    """The head of a response whose body has yet to be read."""

    @property
    def status(self) -> int:
        """Status code of the final response."""
        ...

    @property
    def reason(self) -> str:
        """Reason phrase, as sent."""
        ...

    @property
    def fields(self) -> Fields:
        """Header fields, as sent."""
        ...

    @property
    def length(self) -> int | None:
        """Announced bytes of the body; None when it is not announced."""
        ...

    @property
    def is_framed(self) -> bool:
        """Whether a missing end would be noticed; a body that ends by closing cannot tell."""
        ...

    @property
    def body(self) -> Body:
        """The body; closing it gives the connection up."""
        ...

    async def pass_through(self) -> bool:
        """Count from now on as passing through to the client, at whose speed it is read.

        False at once if too many do that already; the body must then be closed.
        """
        ...


class Origin(Protocol):
    """Where assets come from."""

    async def fetch(self, request: OriginRequest) -> OriginResponse:
        """Send a request and wait for the head of its response; raises OriginError."""
        ...
