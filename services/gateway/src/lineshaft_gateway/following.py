"""One client's way through the log: what it missed, then what comes, without a gap between."""

import asyncio
import re
from collections import deque
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from enum import StrEnum

import structlog
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.topology import EVENTS_LOG

from lineshaft_gateway.limits import ReplayTurns
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.ring import FellBehindError, Frame, UnreadableRecordError, frame_of
from lineshaft_gateway.stream_encoding import SERVER_SENT_EVENTS, Encoding
from lineshaft_gateway.stream_filter import StreamFilter

log = structlog.get_logger(__name__)

QUEUE_FRAMES_MAX = 2000
QUEUE_BYTES_MAX = 2 * 1024 * 1024
RING_STEP = 500
CHUNK_BYTES = 32 * 1024
"""Most bytes of one write, unless a single event is larger: a client must not fill the memory."""
GATHER_SECONDS = 0.02
"""Least time between two writes to one client: under load several events share a write."""
REPLAY_SECONDS_MAX = 600.0
TURN_SECONDS_MAX = 60.0
"""How long a stream waits until it may replay; then it ends, and the client comes again."""
TURN_CHECK_SECONDS = 1.0
AHEAD_MAX = 1000
"""How far another gateway process may be ahead of this one."""

_EVENT_ID = re.compile(r"^([0-9a-f]{8})-(-1|[0-9]{1,18})$")


class ResetReason(StrEnum):
    """Why a stream could not go on where it stopped; the client has to read state anew."""

    MALFORMED = "malformed"
    UNKNOWN_EPOCH = "unknown_epoch"
    AHEAD = "ahead"
    EXPIRED = "expired"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, kw_only=True)
class Resume:
    """Where a stream starts: after an offset, or at the newest with the reason for a reset."""

    offset: int | None = None
    reset: ResetReason | None = None


def resume_from(last_event_id: str | None, *, epoch: str, head: int) -> Resume:
    """Judge what a client says it saw last; None and empty mean that it starts afresh."""
    if not last_event_id:
        return Resume()
    match = _EVENT_ID.match(last_event_id)
    if match is None:
        return Resume(reset=ResetReason.MALFORMED)
    if match[1] != epoch:
        return Resume(reset=ResetReason.UNKNOWN_EPOCH)
    offset = int(match[2])
    if offset > head + AHEAD_MAX:
        return Resume(reset=ResetReason.AHEAD)
    return Resume(offset=offset)


class Follower:
    """Yields the bytes of one stream; its memory is bounded, a slow reader is let go."""

    def __init__(
        self,
        live: LiveLog,
        bus: Bus,
        filter_: StreamFilter,
        *,
        replays: ReplayTurns,
        tenant: str,
        heartbeat_seconds: float,
        encoding: Encoding = SERVER_SENT_EVENTS,
    ) -> None:
        self._live = live
        self._bus = bus
        self._filter = filter_
        self._replays = replays
        self._tenant = tenant
        self._heartbeat_seconds = heartbeat_seconds
        self._encoding = encoding
        self._position = -1
        self._queue: deque[Frame] = deque()
        self._queue_bytes = 0
        self._arrived = asyncio.Event()
        self._overflowed = False
        self._ended = False
        self._gave_up = False
        self._spoke = 0.0

    def offer(self, frame: Frame) -> bool:
        """See `live.Listener.offer`."""
        if self._overflowed or frame.offset <= self._position or not self._filter.wants(frame):
            return False
        if len(self._queue) >= QUEUE_FRAMES_MAX or self._queue_bytes >= QUEUE_BYTES_MAX:
            self._overflowed = True
            self._queue.clear()
        else:
            self._queue.append(frame)
            self._queue_bytes += len(frame.text)
        self._arrived.set()
        return not self._overflowed

    def end(self) -> None:
        """See `live.Listener.end`."""
        self._ended = True
        self._arrived.set()

    @property
    def end_reason(self) -> str:
        """Why it ended by itself."""
        if self._overflowed:
            return "too_slow"
        return "replay_busy" if self._gave_up else "server_stopped"

    async def chunks(self, resume: Resume) -> AsyncGenerator[bytes]:
        """Yield what is to be sent; ends when the client is too slow or the process stops."""
        yield self._encoding.opening
        if resume.reset is not None:
            yield self._reset(resume.reset)
        elif resume.offset is not None:
            self._position = resume.offset
            if not self._live.ring.covers(resume.offset):
                async with aclosing(self._replay_in_turn()) as chunks:
                    async for chunk in chunks:
                        yield chunk
            if self._gave_up:
                return
        else:
            self._position = self._live.ring.head
        for chunk in self._from_ring():
            yield chunk
        # No await since the ring was empty: nothing can come between.
        with self._live.attached(self, self._filter.tenants):
            while not (self._ended or self._live.closing or self._overflowed):
                yield await self._next()
        if self._overflowed:
            yield self._event("too-slow", {"detail": "Read faster, or ask for fewer events."})

    def _from_ring(self) -> Generator[bytes]:
        try:
            while frames := self._live.ring.after(self._position, RING_STEP, CHUNK_BYTES):
                self._position = frames[-1].offset
                chunk = self._joined(frames)
                if chunk:
                    yield chunk
        except FellBehindError:
            self._overflowed = True

    async def _next(self) -> bytes:
        if not self._queue and not self._ended:
            try:
                async with asyncio.timeout(self._heartbeat_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return self._encoding.heartbeat
        loop = asyncio.get_running_loop()
        early = self._spoke + GATHER_SECONDS - loop.time()
        if early > 0 and self._queue_bytes < CHUNK_BYTES:
            await asyncio.sleep(early)
        self._spoke = loop.time()
        self._arrived.clear()
        frames: list[Frame] = []
        size = 0
        while self._queue and (not frames or size + len(self._queue[0].text) <= CHUNK_BYTES):
            frames.append(self._queue.popleft())
            size += len(frames[-1].text)
        self._queue_bytes -= size
        if frames:
            self._position = frames[-1].offset
        return b"".join(self._encoding.frame(frame, self._live.epoch) for frame in frames)

    async def _replay_in_turn(self) -> AsyncGenerator[bytes]:
        """Replay when a place is free, and hold it no longer than that; until then say so."""
        loop = asyncio.get_running_loop()
        began = spoke = loop.time()
        with self._replays.asked(self._tenant) as turn:
            while not turn.done():
                await asyncio.wait(
                    {turn}, timeout=min(TURN_CHECK_SECONDS, self._heartbeat_seconds)
                )
                now = loop.time()
                if self._live.closing or now - began > TURN_SECONDS_MAX:
                    self._gave_up = not self._live.closing
                    return
                if not turn.done() and now - spoke >= self._heartbeat_seconds:
                    yield self._encoding.heartbeat
                    spoke = now
            async with aclosing(self._replay()) as chunks:
                async for chunk in chunks:
                    yield chunk

    async def _replay(self) -> AsyncGenerator[bytes]:
        """Read the log from the position up to where the ring begins."""
        loop = asyncio.get_running_loop()
        spoke = loop.time()
        pending: list[Frame] = []
        size = 0
        try:
            async with (
                asyncio.timeout(REPLAY_SECONDS_MAX),
                self._bus.read_log(EVENTS_LOG, self._position + 1) as records,
            ):
                async for record in records:
                    if record.offset > self._position + 1:
                        yield self._reset(ResetReason.EXPIRED)
                        return
                    self._position = record.offset
                    frame = _frame(record.offset, record.tenant, record.body)
                    if frame is not None and self._filter.wants(frame):
                        if pending and size + len(frame.text) > CHUNK_BYTES:
                            yield self._joined(pending)
                            pending, size, spoke = [], 0, loop.time()
                        pending.append(frame)
                        size += len(frame.text)
                    done = self._live.ring.covers(self._position)
                    quiet = loop.time() - spoke > self._heartbeat_seconds
                    if pending and (done or quiet):
                        yield self._joined(pending)
                        pending, size, spoke = [], 0, loop.time()
                    elif quiet:
                        yield self._encoding.heartbeat
                        spoke = loop.time()
                    if done or self._live.closing:
                        return
        except (OSError, TimeoutError) as error:
            log.warning("replay_failed", error=repr(error)[:200])
            yield self._reset(ResetReason.UNAVAILABLE)

    def _joined(self, frames: Sequence[Frame]) -> bytes:
        write, epoch = self._encoding.frame, self._live.epoch
        return b"".join(write(frame, epoch) for frame in frames if self._filter.wants(frame))

    def _reset(self, reason: ResetReason) -> bytes:
        """Go on at the newest event, and say so."""
        self._position = self._live.ring.head
        return self._event("reset", {"reason": reason.value})

    def _event(self, name: str, data: dict[str, str]) -> bytes:
        """Write an event of the stream's own; its id is the position that it stands for."""
        id_ = f"{self._live.epoch}-{self._position}" if self._position >= 0 else None
        return self._encoding.event(name, data, id_)


def _frame(offset: int, tenant: str, body: bytes) -> Frame | None:
    try:
        return frame_of(offset, tenant, body)
    except UnreadableRecordError:
        return None
