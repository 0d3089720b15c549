"""`GET /api/events/stream`: events of the log as server-sent events."""

import asyncio
from contextlib import aclosing

from aiohttp import web

from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.streaming import WRITE_SECONDS_MAX, Sending, Streaming, StreamQuery
from lineshaft_gateway.stream_encoding import SERVER_SENT_EVENTS

FIELDS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class StreamRoutes:
    """Handlers."""

    def __init__(self, streaming: Streaming) -> None:
        self._streaming = streaming

    async def stream(self, call: Call) -> web.StreamResponse:
        """Send until the client goes, is too slow, loses its key, or the process stops."""
        with self._streaming.opened(call) as sending:
            return await self._send(call, sending)

    async def _send(self, call: Call, sending: Sending) -> web.StreamResponse:
        response = web.StreamResponse(headers=FIELDS)
        await response.prepare(call.request)
        try:
            chunks = self._streaming.chunks(call, sending, SERVER_SENT_EVENTS)
            async with aclosing(chunks):
                async for chunk in chunks:
                    async with asyncio.timeout(WRITE_SECONDS_MAX):
                        await response.write(chunk)
            await response.write_eof()
        except TimeoutError:
            sending.reason = "stuck"
            if call.request.transport is not None:
                call.request.transport.abort()
        except ConnectionError:
            sending.reason = "client_gone"
        return response

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="streamEvents",
                method="GET",
                path="/api/events/stream",
                tag="Events",
                summary="Follow events live",
                description=(
                    "Server-sent events: `event` is the CloudEvents type, `data` the event in "
                    "structured mode, `id` a position. After a lost connection send it as "
                    "`Last-Event-ID`: nothing is left out. When that is not possible (position "
                    "malformed, of another log, or expired) an event `reset` says why, and the "
                    "stream goes on live. While too many streams catch up, a resumed one waits. "
                    "A slow reader gets `too-slow` and is disconnected. "
                    "Events of the platform itself need `system:read` as well."
                ),
                handle=self.stream,
                scope=Scope.EVENTS_READ,
                query=StreamQuery,
                parameters=(
                    Parameter(
                        name="Last-Event-ID",
                        place="header",
                        description="The `id` received last.",
                    ),
                ),
                answers=(
                    Answer(status=200, description="Events", media_type="text/event-stream"),
                ),
                problems={429: "too_many_streams"},
            ),
        )
