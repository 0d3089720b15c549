"""Between the HTTP server and the edge: a request in, its answer out, and what was measured."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from time import perf_counter

from aiohttp import web
from multidict import CIMultiDict

from lineshaft_cdn_edge.edge import Edge
from lineshaft_cdn_edge.messages import Request, Response
from lineshaft_cdn_edge.origin import OriginError
from lineshaft_cdn_edge.traffic import Served, Traffic

_CHUNK_BYTES = 262_144


@dataclass(kw_only=True)
class _Progress:
    """How far the answer to one client has come; times by perf_counter."""

    began: float = field(default_factory=perf_counter)
    first_byte: float | None = None
    body_bytes: int = 0


class _Upload:
    """A client's body, read within limits; the length may be known only when it is exceeded."""

    def __init__(self, http_request: web.Request, bytes_max: int, idle_seconds: float) -> None:
        self._content = http_request.content
        self._bytes_max = bytes_max
        self._idle_seconds = idle_seconds
        self.failure: web.HTTPException | None = None
        """What to answer when a limit was exceeded."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        while chunk := await self._next():
            total += len(chunk)
            if total > self._bytes_max:
                self.failure = _too_large(self._bytes_max)
                raise ConnectionAbortedError("the upload is too large")
            yield chunk

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._idle_seconds):
                return await self._content.readany()
        except TimeoutError:
            self.failure = web.HTTPRequestTimeout()
            raise ConnectionAbortedError("the upload stands still") from None


def _too_large(bytes_max: int) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(max_size=bytes_max, actual_size=bytes_max + 1)


def _request(http_request: web.Request, upload: _Upload | None) -> Request:
    return Request(
        method=http_request.method,
        target=http_request.raw_path,
        authority=http_request.headers.get("Host", ""),
        fields=CIMultiDict(http_request.headers),
        body=aiter(upload) if upload else None,
        client=http_request.remote or "",
    )


class Delivery:
    """Serves any path from the edge, and counts what went out."""

    def __init__(
        self,
        edge: Edge,
        traffic: Traffic,
        *,
        upload_bytes_max: int,
        upload_idle_seconds: float = 10.0,
        send_timeout_seconds: float = 60.0,
    ) -> None:
        self._edge = edge
        self._traffic = traffic
        self._upload_bytes_max = upload_bytes_max
        self._upload_idle_seconds = upload_idle_seconds
        self._send_timeout_seconds = send_timeout_seconds

    async def handle(self, http_request: web.Request) -> web.StreamResponse:
        """Answer one request of any method and path."""
        progress = _Progress()
        if (http_request.content_length or 0) > self._upload_bytes_max:
            raise _too_large(self._upload_bytes_max)
        upload = self._upload(http_request) if http_request.body_exists else None
        response = await self._edge.handle(_request(http_request, upload))
        try:
            if upload and upload.failure:
                raise upload.failure
            return await self._send(http_request, response, progress)
        finally:
            if not isinstance(response.body, bytes):
                await response.body.close()
            self._count(response, progress)

    def _upload(self, http_request: web.Request) -> _Upload:
        return _Upload(http_request, self._upload_bytes_max, self._upload_idle_seconds)

    async def _send(
        self, http_request: web.Request, response: Response, progress: _Progress
    ) -> web.StreamResponse:
        """Send an answer; one that is cut at the origin is cut here, never ended as if whole."""
        fields = response.fields.copy()
        fields.setdefault("Server", "lineshaft")
        fields.popall("Content-Length", None)
        body, reason = response.body, response.reason or None
        if isinstance(body, bytes) and 0 < len(body) <= _CHUNK_BYTES:
            whole = web.Response(status=response.status, reason=reason, headers=fields, body=body)
            return await self._write(http_request, whole, None, progress, len(body))
        stream = web.StreamResponse(status=response.status, reason=reason, headers=fields)
        if response.length is not None:
            stream.content_length = response.length
        chunks = _slices(body) if isinstance(body, bytes) else aiter(body)
        return await self._write(http_request, stream, chunks, progress, 0)

    async def _write(
        self,
        http_request: web.Request,
        stream: web.StreamResponse,
        chunks: AsyncIterator[bytes | memoryview] | None,
        progress: _Progress,
        whole_bytes: int,
    ) -> web.StreamResponse:
        try:
            await stream.prepare(http_request)
            progress.first_byte = perf_counter()
            if chunks is None:
                async with asyncio.timeout(self._send_timeout_seconds):
                    await stream.write_eof()
                progress.body_bytes = whole_bytes
                return stream
            async for chunk in chunks:
                async with asyncio.timeout(self._send_timeout_seconds):
                    await stream.write(chunk)
                progress.body_bytes += len(chunk)
        except (OriginError, TimeoutError, ConnectionError):
            if http_request.transport:
                http_request.transport.abort()
        return stream

    def _count(self, response: Response, progress: _Progress) -> None:
        now = perf_counter()
        self._traffic.served(
            Served(
                asset_class=response.asset_class,
                result=response.result,
                client_bytes=progress.body_bytes,
                saved_bytes=response.saved_bytes if progress.body_bytes else 0,
                first_byte_seconds=(progress.first_byte or now) - progress.began,
                total_seconds=now - progress.began,
            )
        )


async def _slices(body: bytes) -> AsyncIterator[memoryview]:
    """Cut a long body, so that a slow client has time for each piece and not for all."""
    view = memoryview(body)
    for start in range(0, len(body), _CHUNK_BYTES):
        yield view[start : start + _CHUNK_BYTES]
