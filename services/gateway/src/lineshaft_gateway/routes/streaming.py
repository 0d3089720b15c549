"""What all live streams share, whatever carries them: limits, filters, position, key checks."""

import asyncio
from collections.abc import AsyncGenerator, Generator
from contextlib import aclosing, contextmanager
from typing import Annotated

from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.problems import ProblemError
from prometheus_client import Counter, Gauge
from pydantic import BaseModel, ConfigDict, Field

from lineshaft_gateway.following import Follower, resume_from
from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.limits import ReplayTurns, StreamLimits
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.operations import Call
from lineshaft_gateway.stream_encoding import Encoding
from lineshaft_gateway.stream_filter import StreamFilter

WRITE_SECONDS_MAX = 20.0
"""How long one write may wait for the client before the connection is cut."""
KEY_CHECK_SECONDS = 30.0

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


class Sending:
    """One open stream: its bytes, and why it ended."""

    def __init__(self) -> None:
        self.reason = ""


class Streaming:
    """Makes the streams of this process; SSE and WebSocket count as one."""

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
        self.heartbeat_seconds = heartbeat_seconds

    @contextmanager
    def opened(self, call: Call) -> Generator[Sending]:
        """Hold a place for a stream, and count how it ended; raises ProblemError without one."""
        sending = Sending()
        with self._streams.opened(call.principal.tenant):
            OPEN.inc()
            try:
                yield sending
            finally:
                OPEN.dec()
                ENDED.labels(sending.reason or "broken_off").inc()

    async def chunks(
        self, call: Call, sending: Sending, encoding: Encoding
    ) -> AsyncGenerator[bytes]:
        """Yield what is to be written until the stream ends by itself or its key is void."""
        query: StreamQuery = call.query
        last_event_id = call.request.headers.get("Last-Event-ID", query.last_event_id)
        resume = resume_from(last_event_id, epoch=self._live.epoch, head=self._live.ring.head)
        follower = Follower(
            self._live,
            self._bus,
            stream_filter(call),
            replays=self._replays,
            tenant=call.principal.tenant,
            heartbeat_seconds=self.heartbeat_seconds,
            encoding=encoding,
        )
        loop = asyncio.get_running_loop()
        key_checked = loop.time()
        async with aclosing(follower.chunks(resume)) as chunks:
            async for chunk in chunks:
                yield chunk
                if loop.time() - key_checked < KEY_CHECK_SECONDS:
                    continue
                key_checked = loop.time()
                if not await self._is_valid(call):
                    sending.reason = "key_revoked"
                    detail = {"detail": "The key is no longer valid."}
                    yield encoding.event("key-revoked", detail, None)
                    return
        sending.reason = follower.end_reason

    async def _is_valid(self, call: Call) -> bool:
        try:
            return await self._keyring.is_valid(call.principal)
        except ProblemError:
            return True  # The database is away: open streams stay open.


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
