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
    """A client's body, read within a limit; the length may be known only when it is exceeded."""

    def __init__(self, http_request: web.Request, bytes_max: int) -> None:
        self._content = http_request.content
        self._bytes_max = bytes_max
        self.is_too_large = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        async for chunk in self._content.iter_any():
            total += len(chunk)
            if total > self._bytes_max:
                self.is_too_large = True
                raise ConnectionAbortedError("the upload is too large")
            yield chunk


def _too_large(bytes_max: int) -> web.HTTPException:
    return web.HTTPRequestEntityTooLarge(max_size=bytes_max, actual_size=bytes_max + 1)


def _request(http_request: web.Request, upload: _Upload | None) -> Request:
    return Request(
        method=http_request.method,
        target=http_request.raw_path,
        authority=http_request.headers.get("Host", ""),
        fields=CIMultiDict(http_request.headers),
        body=aiter(upload) if upload else None,
    )


class Delivery:
    """Serves any path from the edge, and counts what went out."""

    def __init__(
        self,
        edge: Edge,
        traffic: Traffic,
        *,
        upload_bytes_max: int,
        send_timeout_seconds: float = 60.0,
    ) -> None:
        self._edge = edge
        self._traffic = traffic
        self._upload_bytes_max = upload_bytes_max
        self._send_timeout_seconds = send_timeout_seconds

    async def handle(self, http_request: web.Request) -> web.StreamResponse:
        """Answer one request of any method and path."""
        progress = _Progress()
        if (http_request.content_length or 0) > self._upload_bytes_max:
            raise _too_large(self._upload_bytes_max)
        upload = (
            _Upload(http_request, self._upload_bytes_max) if http_request.body_exists else None
        )
        response = await self._edge.handle(_request(http_request, upload))
        try:
            if upload and upload.is_too_large:
                raise _too_large(self._upload_bytes_max)
            return await self._send(http_request, response, progress)
        finally:
            if not isinstance(response.body, bytes):
                await response.body.close()
            self._count(response, progress)

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
