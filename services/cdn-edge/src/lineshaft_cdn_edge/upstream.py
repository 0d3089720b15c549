"""The origin over HTTP/1.1."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.messages import SAFE_METHODS
from lineshaft_cdn_edge.origin import (
    OriginError,
    OriginInvalidError,
    OriginOverloadedError,
    OriginRequest,
    OriginTimeoutError,
    OriginTruncatedError,
    OriginUnreachableError,
)
from lineshaft_cdn_edge.slots import Slot, Slots

_CHUNK_BYTES = 65_536
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


@dataclass(frozen=True, kw_only=True)
class UpstreamLimits:
    """Bounds of the connections to an origin."""

    connections_max: int = 64
    """Half of them, rounded down, for requests that pass through; the others for fills."""
    passing_per_client_max: int = 16
    """Pass-through requests of one client address at a time."""
    acquire_timeout_seconds: float = 10.0
    """How long a request may wait for a free connection."""
    connect_timeout_seconds: float = 5.0
    head_timeout_seconds: float = 30.0
    """From sending the request to the response's head."""
    idle_timeout_seconds: float = 30.0
    """The longest silence in the middle of a body."""
    keepalive_seconds: float = 4.0
    """How long an unused connection is kept: less than most servers keep their end."""
    field_bytes_max: int = 32_768


class HttpOrigin:
    """Fetches from one base URL; bodies come as they are, no redirect is followed, no cookie kept.

    A request whose kept-alive connection turned out dead is repeated once if it is safe. Others
    get a connection of their own: nobody could say whether the dead one had carried them out.
    """

    def __init__(self, base_url: str, limits: UpstreamLimits | None = None) -> None:
        self._base = base_url.rstrip("/")
        self._limits = limits or UpstreamLimits()
        self._slots = Slots(
            self._limits.connections_max,
            passing_per_client_max=self._limits.passing_per_client_max,
        )
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    async def __aenter__(self) -> Self:
        idle_seconds = self._limits.keepalive_seconds
        self._sessions[True] = self._session(
            aiohttp.TCPConnector(limit=0, keepalive_timeout=idle_seconds)
        )
        self._sessions[False] = self._session(aiohttp.TCPConnector(limit=0, force_close=True))
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for session in self._sessions.values():
            await session.close()

    def _session(self, connector: aiohttp.TCPConnector) -> aiohttp.ClientSession:
        limits = self._limits
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            timeout=aiohttp.ClientTimeout(
                total=None,
                sock_connect=limits.connect_timeout_seconds,
                sock_read=limits.idle_timeout_seconds,
            ),
            skip_auto_headers=_NOT_ADDED,
            max_line_size=limits.field_bytes_max,
            max_field_size=limits.field_bytes_max,
        )

    async def fetch(self, request: OriginRequest) -> "HttpResponse":
        """Send a request and wait for the head of its response; raises OriginError."""
        try:
            async with asyncio.timeout(self._limits.acquire_timeout_seconds):
                slot = await self._slots.acquire(client=request.client, fills=request.fills)
        except TimeoutError:
            raise OriginOverloadedError from None
        try:
            response = await self._send(request)
        except BaseException:
            slot.release()
            raise
        return HttpResponse(response, request.method, slot)

    async def _send(self, request: OriginRequest) -> aiohttp.ClientResponse:
        session = self._sessions[request.method in SAFE_METHODS and request.body is None]
        fields = request.fields
        if request.host:
            fields = fields.copy()
            fields["Host"] = request.host
        try:
            async with asyncio.timeout(self._limits.head_timeout_seconds):
                return await session.request(
                    request.method,
                    URL(self._base + request.target, encoded=True),
                    headers=fields,
                    data=request.body,
                    allow_redirects=False,
                )
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise _translated(error) from error


def _translated(error: Exception) -> OriginError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return OriginUnreachableError(str(error))
    if isinstance(error, TimeoutError):
        return OriginTimeoutError()
    if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL | ValueError):
        return OriginInvalidError(str(error))
    return OriginUnreachableError(str(error))


class HttpResponse:
    """A response of the origin; its connection is given back when the body ends or is closed."""

    def __init__(self, response: aiohttp.ClientResponse, method: str, slot: Slot) -> None:
        self._response = response
        self._slot: Slot | None = slot
        self.status = response.status
        self.reason = response.reason or ""
        self.fields: Fields = CIMultiDict(response.headers)
        self.is_framed = (
            method == "HEAD"
            or response.status in {204, 304}
            or "content-length" in self.fields
            or "chunked" in self.fields.get("transfer-encoding", "").lower()
        )
        self.length = self._announced(method)
        self.body = self

    def _announced(self, method: str) -> int | None:
        if method != "HEAD" and self.status in {204, 304}:
            return 0
        text = self.fields.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._response.content.iter_chunked(_CHUNK_BYTES):
                yield chunk
        except (TimeoutError, aiohttp.ClientError) as error:
            raise OriginTruncatedError(str(error)) from error
        finally:
            await self.close()

    async def pass_through(self) -> bool:
        """See `OriginResponse.pass_through`."""
        return self._slot is None or await self._slot.pass_through()

    async def close(self) -> None:
        """Give the connection back, or up if the body was not read to its end."""
        slot, self._slot = self._slot, None
        if slot:
            slot.release()
            self._response.release() if self._response.content.at_eof() else self._response.close()
