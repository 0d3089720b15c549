"""`GET /api/events/stream`: events of the log as server-sent events."""

import asyncio
from contextlib import aclosing
from typing import Annotated

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.problems import ProblemError
from prometheus_client import Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway.following import Follower, Resume, resume_from
from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.limits import ReplayTurns, StreamLimits
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.stream_filter import StreamFilter

WRITE_SECONDS_MAX = 20.0
"""How long one write may wait for the client before the connection is cut."""
KEY_CHECK_SECONDS = 30.0
REVOKED = b'event: key-revoked\ndata: {"detail": "The key is no longer valid."}\n\n'

OPEN = Gauge("lineshaft_gateway_streams", "Open event streams")
ENDED = Counter("lineshaft_gateway_streams_ended_total", "Event streams by end", ["reason"])

EventTypePattern = Annotated[str, Field(pattern=r"^[a-z0-9._-]{1,128}\*?$|^\*$")]


class StreamQuery(BaseModel):
    """Which events to send; conditions are joined with AND."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    type: Annotated[tuple[EventTypePattern, ...], Field(max_length=50)] = ()
    """May be repeated; a trailing `*` makes it a prefix."""
    source: Annotated[str, Field(max_length=255)] = ""
    """This equipment path and everything below it."""
    subject: Annotated[str, Field(max_length=255)] | None = None
    last_event_id: Annotated[str, Field(max_length=64)] | None = None
    """For clients that cannot set `Last-Event-ID`; the header field wins."""


FIELDS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


def stream_filter(call: Call) -> StreamFilter:
    """Join what the key may see with what the request asks for."""
    query: StreamQuery = call.query
    tenants = {call.principal.tenant}
    if call.principal.may(Scope.SYSTEM_READ):
        tenants.add(PLATFORM_TENANT)
    return StreamFilter(
        tenants=frozenset(tenants),
        types=query.type,
        source=query.source,
        subject=query.subject,
    )


class StreamRoutes:
    """Handlers."""

    def __init__(
        self,
        live: LiveLog,
        bus: Bus,
        keyring: Keyring,
        *,
        streams: StreamLimits,
        replays: ReplayTurns,
        heartbeat_seconds: float,
    ) -> None:
        self._live = live
        self._bus = bus
        self._keyring = keyring
        self._streams = streams
        self._replays = replays
        self._heartbeat_seconds = heartbeat_seconds

    async def stream(self, call: Call) -> web.StreamResponse:
        """Send until the client goes, is too slow, loses its key, or the process stops."""
        with self._streams.opened(call.principal.tenant):
            OPEN.inc()
            try:
                return await self._stream(call)
            finally:
                OPEN.dec()

    async def _stream(self, call: Call) -> web.StreamResponse:
        query: StreamQuery = call.query
        last_event_id = call.request.headers.get("Last-Event-ID", query.last_event_id)
        resume = resume_from(last_event_id, epoch=self._live.epoch, head=self._live.ring.head)
        follower = Follower(
            self._live,
            self._bus,
            stream_filter(call),
            replays=self._replays,
            tenant=call.principal.tenant,
            heartbeat_seconds=self._heartbeat_seconds,
        )
        return await self._send(call, follower, resume)

    async def _send(self, call: Call, follower: Follower, resume: Resume) -> web.StreamResponse:
        response = web.StreamResponse(headers=FIELDS)
        await response.prepare(call.request)
        loop = asyncio.get_running_loop()
        key_checked = loop.time()
        reason = ""
        try:
            async with aclosing(follower.chunks(resume)) as chunks:
                async for chunk in chunks:
                    async with asyncio.timeout(WRITE_SECONDS_MAX):
                        await response.write(chunk)
                    if loop.time() - key_checked < KEY_CHECK_SECONDS:
                        continue
                    key_checked = loop.time()
                    if not await self._is_valid(call):
                        reason = "key_revoked"
                        await response.write(REVOKED)
                        break
            reason = reason or follower.end_reason
            await response.write_eof()
        except TimeoutError:
            reason = "stuck"
            if call.request.transport is not None:
                call.request.transport.abort()
        except ConnectionError:
            reason = "client_gone"
        finally:
            ENDED.labels(reason or "broken_off").inc()
        return response

    async def _is_valid(self, call: Call) -> bool:
        try:
            return await self._keyring.is_valid(call.principal)
        except ProblemError:
            return True  # The database is away: open streams stay open.

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
