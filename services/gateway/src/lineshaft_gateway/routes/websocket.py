"""`GET /api/events/ws`: the stream of `/api/events/stream` over a WebSocket."""

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from urllib.parse import urlsplit

from aiohttp import WSCloseCode, WSMsgType, web
from lineshaft_contracts.problems import Problem, ProblemError

from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.guard import PROTOCOL_KEY_PREFIX
from lineshaft_gateway.routes.streaming import WRITE_SECONDS_MAX, Sending, Streaming, StreamQuery
from lineshaft_gateway.stream_encoding import JSON_LINES

PROTOCOL = "lineshaft.events.v1"
RECEIVED_BYTES_MAX = 4096
"""Nothing is expected from a client; one that sends is told so and let go."""
WRITER_BYTES_MAX = 64 * 1024
CLOSE_SECONDS = 5.0

CLOSE_CODES = {
    "server_stopped": WSCloseCode.GOING_AWAY,
    "replay_busy": WSCloseCode.TRY_AGAIN_LATER,
    "client_sent": WSCloseCode.UNSUPPORTED_DATA,
    "key_revoked": 4001,
    "too_slow": 4008,
}


class WebSocketRoutes:
    """Handlers."""

    def __init__(self, streaming: Streaming, *, origins: Sequence[str]) -> None:
        self._streaming = streaming
        self._origins = frozenset(origins)

    async def stream(self, call: Call) -> web.StreamResponse:
        """Send until the client goes or sends, is too slow, loses its key, or we stop."""
        self._check_origin(call.request)
        _check_protocol(call.request)
        socket = web.WebSocketResponse(
            heartbeat=self._streaming.heartbeat_seconds,
            protocols=(PROTOCOL,),
            compress=False,
            max_msg_size=RECEIVED_BYTES_MAX,
            writer_limit=WRITER_BYTES_MAX,
            timeout=CLOSE_SECONDS,
        )
        with self._streaming.opened(call) as sending:
            await socket.prepare(call.request)
            sender = asyncio.create_task(self._send(call, sending, socket))
            try:
                await self._receive(socket, sending, sender)
            finally:
                sender.cancel()
                await asyncio.gather(sender, return_exceptions=True)
        return socket

    async def _receive(
        self, socket: web.WebSocketResponse, sending: Sending, sender: asyncio.Task[None]
    ) -> None:
        """Answer pings until the other side closes; a message of its own ends the stream."""
        async for message in socket:
            sending.reason = "client_sent"
            sender.cancel()
            code = CLOSE_CODES["client_sent"]
            await socket.close(code=code, message=f"no {message.type.name} expected".encode())
        sending.reason = sending.reason or "client_gone"

    async def _send(self, call: Call, sending: Sending, socket: web.WebSocketResponse) -> None:
        try:
            chunks = self._streaming.chunks(call, sending, JSON_LINES)
            async with aclosing(chunks):
                async for chunk in chunks:
                    if chunk:
                        async with asyncio.timeout(WRITE_SECONDS_MAX):
                            await socket.send_frame(chunk, WSMsgType.TEXT)
            code = CLOSE_CODES[sending.reason]
            await socket.close(code=code, message=sending.reason.encode())
        except TimeoutError:
            sending.reason = "stuck"
            if call.request.transport is not None:
                call.request.transport.abort()
        except ConnectionError:
            sending.reason = "client_gone"

    def _check_origin(self, request: web.Request) -> None:
        """Let a browser's page in from our own address or one that is allowed by setting."""
        origin = request.headers.get("Origin")
        if origin is None or origin in self._origins:
            return
        if urlsplit(origin).netloc.lower() != request.host.lower():
            raise ProblemError(ORIGIN)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="streamEventsOverWebSocket",
                method="GET",
                path="/api/events/ws",
                tag="Events",
                summary="Follow events live over a WebSocket",
                description=(
                    "The stream of `/api/events/stream`, with the same parameters, positions, "
                    "limits and events of its own. Each text message holds one or more lines, "
                    'each an object `{"id", "event", "data"}`. Clients that cannot set '
                    f"`Authorization` offer the subprotocols `{PROTOCOL}` and "
                    f"`{PROTOCOL_KEY_PREFIX}<key>`. Close codes: 1001 the server stops, 1003 the "
                    "client sent something, 1013 too many catch up (come again with the same "
                    "position), 4001 the key is void, 4008 too slow."
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
                answers=(Answer(status=101, description="Events, as WebSocket messages"),),
                problems={
                    400: f"bad_request, {SUBPROTOCOL.code}",
                    403: ORIGIN.code,
                    429: "too_many_streams",
                },
            ),
        )


def _check_protocol(request: web.Request) -> None:
    """Refuse offers without ours: browsers would, and the library would log them, key and all."""
    offered = request.headers.get("Sec-WebSocket-Protocol")
    if offered is not None and PROTOCOL not in {one.strip() for one in offered.split(",")}:
        raise ProblemError(SUBPROTOCOL)


SUBPROTOCOL = Problem(
    code="unsupported_subprotocol",
    title="No subprotocol that is offered is spoken here",
    detail=f"Offer {PROTOCOL}, or none.",
    status=400,
)
ORIGIN = Problem(
    code="origin_not_allowed",
    title="Pages of this origin may not connect",
    detail="Add it to LINESHAFT_WEBSOCKET_ORIGINS.",
    status=403,
)
