"""The one reader of the events log in this process, and the streams that hang on it."""

import asyncio
import contextlib
import secrets
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol, Self

import structlog
from lineshaft_common import tracing
from lineshaft_common.messaging.bus import Bus, LogRecord, Start
from lineshaft_common.transient import is_transient
from lineshaft_contracts.topology import EVENTS_LOG
from opentelemetry import trace
from prometheus_client import Counter, Gauge

from lineshaft_gateway.ring import Frame, Ring, UnreadableRecordError, frame_of

log = structlog.get_logger(__name__)

WARM_UP_SECONDS_MAX = 3.0
QUIET_SECONDS = 0.25
CHECKPOINT_SECONDS = 2.0
RESTART_SECONDS = 2.0

READ = Counter("lineshaft_gateway_log_records_total", "Records read from the events log")
HEAD = Gauge("lineshaft_gateway_log_offset", "Offset of the newest record that was read")


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in one incarnation of the log."""

    epoch: str
    offset: int
    event_id: str | None = None


class PositionStore(Protocol):
    """Where the last seen position is kept; all gateway processes share it."""

    async def load(self, log: str, *, new_epoch: str) -> Position:
        """Read the position; begin with `new_epoch` and offset -1 when there is none."""
        ...

    async def advance(self, log: str, position: Position) -> None:
        """Keep a later position; without effect when it is not later."""
        ...

    async def renew(self, log: str, *, old_epoch: str, new_epoch: str) -> str:
        """Begin a new epoch unless another process did; return the one that holds."""
        ...


class Listener(Protocol):
    """A stream that waits for what comes next."""

    def offer(self, frame: Frame) -> bool:
        """Take a frame that it may see, if it wants it; must not wait. Whether it took it."""
        ...

    def end(self) -> None:
        """Expect no more frames: the process stops."""
        ...


class LiveLog:
    """Reads the log once for all streams; keeps the newest frames in a ring.

    Where a position is stored, reading begins with the last chunk of the log. That shows whether
    it still is the log of that position: one made anew begins a new epoch, so that no stream goes
    on at an offset of the old one.
    """

    def __init__(self, bus: Bus, positions: PositionStore, ring: Ring) -> None:
        self._bus = bus
        self._positions = positions
        self.ring = ring
        self.epoch = ""
        self.closing = False
        self._listeners: defaultdict[str, set[Listener]] = defaultdict(set)
        self._newest: Frame | None = None
        self._stored = -1
        self._warm = False
        self._opened = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        stored = await self._positions.load(EVENTS_LOG.name, new_epoch=_new_epoch())
        self.epoch, self._stored = stored.epoch, stored.offset
        self._tasks.append(asyncio.create_task(self._read(), name="live-log"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WARM_UP_SECONDS_MAX):
                await self._opened.wait()
        if stored.offset >= 0:
            await self._warm_up()
        if not self._is_the_same(stored):
            self.epoch = await self._positions.renew(
                EVENTS_LOG.name, old_epoch=stored.epoch, new_epoch=_new_epoch()
            )
            self._stored = -1
            log.warning("events_log_is_new", epoch=self.epoch, head=self.ring.head)
        self._warm = True
        self._tasks.append(asyncio.create_task(self._keep_position(), name="live-position"))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        with contextlib.suppress(Exception):
            async with asyncio.timeout(2):
                await self._checkpoint()

    def position(self) -> str:
        """Write the id of the newest record that was read; `<epoch>--1` before the first one."""
        return f"{self.epoch}-{self.ring.head}"

    def close(self) -> None:
        """End all streams, so that the process can stop."""
        self.closing = True
        for listeners in list(self._listeners.values()):
            for listener in list(listeners):
                listener.end()

    @contextmanager
    def attached(self, listener: Listener, tenants: frozenset[str]) -> Generator[None]:
        """Offer the listener every new frame of these tenants inside the block."""
        for tenant in tenants:
            self._listeners[tenant].add(listener)
        try:
            yield
        finally:
            for tenant in tenants:
                self._listeners[tenant].discard(listener)
                if not self._listeners[tenant]:
                    del self._listeners[tenant]

    async def _read(self) -> None:
        while True:
            try:
                async with self._bus.read_log(EVENTS_LOG, self._start()) as records:
                    self._opened.set()
                    async for record in records:
                        self._accept(record)
            except Exception as error:
                if not is_transient(error):
                    log.exception("live_log_failed")
                else:
                    log.warning("live_log_waits", error=repr(error)[:200])
            await asyncio.sleep(RESTART_SECONDS)

    def _start(self) -> Start:
        if self.ring.head >= 0:
            return self.ring.head + 1
        return "next" if self._stored < 0 else "last"

    def _accept(self, record: LogRecord) -> None:
        if record.offset <= self.ring.head:
            return  # A reconnected reader may see a record again.
        if self.ring.head < 0:
            self.ring.begin(record.offset - 1)
        READ.inc()
        HEAD.set(record.offset)
        try:
            frame = frame_of(record.offset, record.tenant, record.body)
        except UnreadableRecordError as error:
            log.warning("unreadable_log_record", offset=record.offset, error=str(error))
            self.ring.skip(record.offset)
            return
        self.ring.add(frame)
        self._newest = frame
        if self._warm:
            self._deliver(frame, record)

    def _deliver(self, frame: Frame, record: LogRecord) -> None:
        """Hand a frame to every stream of its tenant, inside the trace of whoever sent it."""
        listeners = self._listeners.get(frame.tenant, ())
        if not trace.get_current_span(record.context).get_span_context().is_valid:
            for listener in listeners:
                listener.offer(frame)
            return
        with tracing.process(EVENTS_LOG.name, [record.context], name="deliver") as span:
            taken = sum(listener.offer(frame) for listener in listeners)
            span.set_attribute("messaging.message.id", frame.id)
            span.set_attribute("cloudevents.event_type", frame.type)
            span.set_attribute("lineshaft.streams", taken)

    async def _warm_up(self) -> None:
        """Wait until the last chunk is read, or it is clear that there is none."""
        loop = asyncio.get_running_loop()
        ends = loop.time() + WARM_UP_SECONDS_MAX
        seen, since = self.ring.head, loop.time()
        while loop.time() < ends:
            await asyncio.sleep(0.02)
            if self.ring.head != seen:
                seen, since = self.ring.head, loop.time()
            elif seen >= 0 and loop.time() - since > QUIET_SECONDS:
                return

    def _is_the_same(self, stored: Position) -> bool:
        if stored.offset < 0:
            return True
        if self.ring.head < stored.offset:
            return False
        frame = self.ring.find(stored.offset)
        return frame is None or stored.event_id is None or frame.id == stored.event_id

    async def _keep_position(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            try:
                await self._checkpoint()
            except Exception as error:
                if not is_transient(error):
                    log.exception("position_not_kept")

    async def _checkpoint(self) -> None:
        newest = self._newest
        if newest is not None and newest.offset > self._stored:
            position = Position(epoch=self.epoch, offset=newest.offset, event_id=newest.id)
            await self._positions.advance(EVENTS_LOG.name, position)
            self._stored = newest.offset


def _new_epoch() -> str:
    return secrets.token_hex(4)
