"""Brings the events of the log to the backlogs: one reader for all, and one for who lags.

The reader of all matches each record once. A subscription whose backlog is full leaves it; once
there is room again it reads by itself from where it stopped, in slices, until it is up to the
reader of all, and joins that again between two records.
"""

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

import structlog
from lineshaft_common.messaging.bus import Bus, LogRecord
from lineshaft_contracts.subscriptions import Subscription
from lineshaft_contracts.topology import EVENTS_LOG
from prometheus_client import Counter, Gauge

from lineshaft_event_router.filters.index import Selection, SubscriptionIndex
from lineshaft_event_router.subscriptions.backlog import Backlog
from lineshaft_event_router.subscriptions.records import (
    LogEvent,
    UnreadableError,
    event_of,
    parse,
)

log = structlog.get_logger(__name__)
K = TypeVar("K", bound=Hashable)

SLICES_MAX = 4
"""Subscriptions that read by themselves at once; each has a connection."""
SLICE_WAITS_SECONDS = 1.0
QUIET_SECONDS_MAX = 10.0
POLL_SECONDS = 0.05
RESTART_SECONDS = 1.0
BREATHE_EVERY = 50

READ = Counter("lineshaft_subscription_records_total", "Records read of the log", ["reader"])
READ_BY_ALL, READ_BY_ONE = READ.labels("all"), READ.labels("one")
LAGGING = Gauge("lineshaft_subscriptions_lagging", "Subscriptions that read by themselves")


@dataclass(eq=False)
class Intake:
    """One subscription as the feed knows it."""

    selection: Selection
    backlog: Backlog
    live: bool = False
    reading: bool = False
    missed: int = 0
    """Records that were gone before they could be read, since it was last asked."""


def selection_of(tenant: str, subscription: Subscription) -> Selection:
    """Say which events a subscription wants: never those of another tenant."""
    return Selection(
        tenant=tenant,
        types=frozenset(subscription.types),
        source=subscription.source,
        topics=frozenset(subscription.topics),
        filters=subscription.filters,
    )


class Feed(Generic[K]):
    """Reads the log from `start` on for all who are as far as that, and for the others alone."""

    def __init__(self, bus: Bus, start: int) -> None:
        self._bus = bus
        self._index = SubscriptionIndex[K]()
        self._intakes: dict[K, Intake] = {}
        self._lagging: dict[K, Intake] = {}
        self.head = start - 1
        """Offset of the newest record that the reader of all has seen."""

    def add(self, key: K, intake: Intake) -> None:
        """Take a subscription in."""
        self._index.add(key, intake.selection)
        self._intakes[key] = intake
        intake.live = intake.backlog.next > self.head
        if not intake.live:
            self._lagging[key] = intake

    def remove(self, key: K) -> None:
        """Forget a subscription."""
        self._index.remove(key)
        self._intakes.pop(key, None)
        self._lagging.pop(key, None)

    def position(self, intake: Intake) -> int:
        """Say from where it would have to be read again."""
        if intake.live and not len(intake.backlog):
            return max(intake.backlog.next, self.head + 1)
        return intake.backlog.position

    async def run(self) -> None:
        """Read until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._read_for_all())
            slots = asyncio.Semaphore(SLICES_MAX)
            while True:
                LAGGING.set(len(self._lagging))
                for key, intake in list(self._lagging.items()):
                    if intake.reading or intake.backlog.is_full:
                        continue
                    intake.reading = True
                    tasks.create_task(self._slice(key, intake, slots))
                await asyncio.sleep(POLL_SECONDS)

    async def _read_for_all(self) -> None:
        while True:
            try:
                async with self._bus.read_log(EVENTS_LOG, self.head + 1) as records:
                    count = 0
                    async for record in records:
                        self.accept(record)
                        count += 1
                        if count % BREATHE_EVERY == 0:
                            await asyncio.sleep(0)
            except Exception as error:  # noqa: BLE001 - whatever it is, reading goes on.
                log.warning("subscriptions_wait_for_the_log", error=repr(error)[:200])
            await asyncio.sleep(RESTART_SECONDS)

    def accept(self, record: LogRecord) -> None:
        """Match a record once, and hand it to all who want it and are as far."""
        if record.offset <= self.head:
            return
        READ_BY_ALL.inc()
        event: LogEvent | None = None
        for key, parsed in self._wanting(record):
            intake = self._intakes[key]
            if not intake.live:
                continue
            if intake.backlog.is_full:
                intake.backlog.skip_to(self.head + 1)
                intake.live = False
                self._lagging[key] = intake
                continue
            if event is None:
                event = event_of(record, parsed)
            intake.backlog.offer(event)
        self.head = record.offset

    def _wanting(self, record: LogRecord) -> list[tuple[K, dict[str, object]]]:
        if not len(self._index):
            return []
        try:
            parsed = parse(record.body)
        except UnreadableError as error:
            log.warning("unreadable_log_record", offset=record.offset, error=str(error))
            return []
        return [(key, parsed) for key in self._index.match(parsed, record.routing_key)]

    async def _slice(self, key: K, intake: Intake, slots: asyncio.Semaphore) -> None:
        """Read for one subscription as long as it has room, or until it is up to the others."""
        try:
            async with slots:
                if self._lagging.get(key) is intake and not self._joins(key, intake):
                    await self._read_for_one(key, intake)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is tried again.
            log.warning("subscription_cannot_catch_up", error=repr(error)[:200])
            await asyncio.sleep(RESTART_SECONDS)
        finally:
            intake.reading = False

    async def _read_for_one(self, key: K, intake: Intake) -> None:
        only = SubscriptionIndex[K]()
        only.add(key, intake.selection)
        backlog, wanted = intake.backlog, intake.backlog.next
        async with self._bus.read_log(EVENTS_LOG, wanted) as records:
            count = 0
            while self._lagging.get(key) is intake:
                if not await _has_room(backlog):
                    return
                async with asyncio.timeout(QUIET_SECONDS_MAX):
                    record = await anext(records)
                if record.offset < backlog.next:
                    continue
                if count == 0 and record.offset > wanted:
                    intake.missed += record.offset - wanted
                    log.warning("subscription_missed_records", count=record.offset - wanted)
                count += 1
                READ_BY_ONE.inc()
                _offer(only, record, backlog)
                if self._joins(key, intake):
                    return
                if count % BREATHE_EVERY == 0:
                    await asyncio.sleep(0)

    def _joins(self, key: K, intake: Intake) -> bool:
        """Let the reader of all care for it again, if it has seen all that that one has."""
        if intake.backlog.next <= self.head:
            return False
        intake.live = True
        self._lagging.pop(key, None)
        return True


def _offer(only: SubscriptionIndex[K], record: LogRecord, backlog: Backlog) -> None:
    try:
        parsed = parse(record.body)
        if only.match(parsed, record.routing_key):
            backlog.offer(event_of(record, parsed))
    except UnreadableError:
        pass  # The reader of all has said so.
    backlog.skip_to(record.offset + 1)


async def _has_room(backlog: Backlog) -> bool:
    """Wait a little for room: a quick receiver keeps its reader."""
    deadline = asyncio.get_running_loop().time() + SLICE_WAITS_SECONDS
    while backlog.is_full:
        if asyncio.get_running_loop().time() > deadline:
            return False
        await asyncio.sleep(0.01)
    return True
