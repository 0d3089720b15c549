"""Delivers the events of one HTTP subscription: in order by key, each key by itself.

An event that fails is put aside in the database with its key; what follows of that key waits
behind it there, and all other keys go on. After its schedule the key is parked.
"""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Protocol

import structlog

from lineshaft_event_router.subscriptions.backlog import Backlog, Turns
from lineshaft_event_router.subscriptions.holding import Holding
from lineshaft_event_router.subscriptions.journal import Journal
from lineshaft_event_router.subscriptions.records import (
    Attempt,
    Failure,
    LogEvent,
    Outcome,
    Stored,
    Verdict,
)
from lineshaft_event_router.subscriptions.repeating import surely
from lineshaft_event_router.subscriptions.retrying import RetrySchedule
from lineshaft_event_router.subscriptions.stores import HeldEvents

log = structlog.get_logger(__name__)

WAITING_MAX = 10_000
"""Events that wait for another attempt; with more of them nothing more is taken from the log."""
PARKED_MAX = 100_000
BEHIND_BATCH_MAX = 200
AWAY_AFTER_FAILURES = 10
"""So many failures in a row mean that the receiver is away; once it is back, all keys are due."""
IDLE_SECONDS = 5.0
LOOK_AGAIN_SECONDS = 0.05


class Sink(Protocol):
    """A receiver."""

    async def send(self, event: LogEvent) -> Outcome:
        """Try once; every way to fail is an outcome."""
        ...


class DisabledError(Exception):
    """The subscription is to be stopped; the message is the reason."""


class Courier:
    """One subscription at work; `run` ends with DisabledError, or when it is cancelled."""

    def __init__(
        self,
        stored: Stored,
        backlog: Backlog,
        sink: Sink,
        held: HeldEvents,
        journal: Journal,
        *,
        random: Random | None = None,
    ) -> None:
        self._stored = stored
        self._backlog = backlog
        self._turns = Turns(backlog)
        self._sink = sink
        self._held = held
        self._journal = journal
        self._random = random or Random()
        settings = stored.subscription.protocolsettings
        self._schedule = RetrySchedule.of(settings)
        self._concurrency = settings.concurrency
        self._busy = 0
        self._failures = 0
        self._not_before = datetime.min.replace(tzinfo=UTC)
        self._behind: list[LogEvent] = []
        self._holding_back = False
        self.holding = Holding()

    async def run(self) -> None:
        """Deliver until cancelled."""
        self.holding = Holding(await surely(lambda: self._held.held(self._stored)))
        try:
            async with asyncio.TaskGroup() as tasks:
                while True:
                    self._backlog.changed.clear()
                    self._start(tasks)
                    await self._wait()
        except* DisabledError as group:
            raise group.exceptions[0] from None

    async def _wait(self) -> None:
        due = self.holding.next_due_at() if self._busy < self._concurrency else None
        seconds = IDLE_SECONDS
        if due is not None:
            wanted = (max(due, self._not_before) - _now()).total_seconds()
            seconds = min(max(wanted, 0.001), IDLE_SECONDS)
        elif self._not_before > _now():
            seconds = min((self._not_before - _now()).total_seconds() + 0.001, IDLE_SECONDS)
        try:
            async with asyncio.timeout(seconds):
                await self._backlog.changed.wait()
        except TimeoutError:
            pass

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        """Start as many attempts as may run, what was put aside first."""
        if self._not_before > _now():
            return
        while self._busy < self._concurrency:
            key = self.holding.due(_now())
            if key is None:
                break
            self._begin(tasks, self._retry(key))
        while self._busy < self._concurrency and self.holding.waiting < WAITING_MAX:
            if len(self._behind) >= BEHIND_BATCH_MAX:
                break
            event = self._turns.take()
            if event is None:
                break
            if self._is_expired(event):
                self._note(event, 0, "expired")
                self._turns.done(event)
            elif event.key in self.holding:
                self._behind.append(event)
            else:
                self._begin(tasks, self._attempt(event))
        if self._behind and not self._holding_back:
            self._holding_back = True
            tasks.create_task(self._hold_behind())

    def _begin(self, tasks: asyncio.TaskGroup, work: "Awaitable[None]") -> None:
        self._busy += 1

        async def one() -> None:
            try:
                await work
            finally:
                self._busy -= 1
                self._backlog.changed.set()

        tasks.create_task(one())

    async def _attempt(self, event: LogEvent) -> None:
        outcome = await self._sink.send(event)
        self._judge(event, 1, outcome)
        if outcome.verdict is Verdict.FAILED:
            failure = self._failure(1, None, outcome)
            await surely(lambda: self._held.hold(self._stored, [event], failure=failure))
            self.holding.hold(event.key, failed_at=failure.first_failed_at, due_at=failure.due_at)
            if self._schedule.is_exhausted(failure.first_failed_at, _now()):
                await self._park(event)
        self._turns.done(event)

    async def _hold_behind(self) -> None:
        """Put events aside whose key waits; no more of that key is taken meanwhile."""
        try:
            while self._behind:
                batch, self._behind = self._behind, []
                free = [event for event in batch if event.key not in self.holding]
                kept = [event for event in batch if event.key in self.holding]
                for event in kept:
                    self.holding.add_behind(event.key)
                if kept:
                    parked = [self.holding.is_parked(event.key) for event in kept]
                    await surely(lambda: self._held.hold(self._stored, kept, parked=parked))  # noqa: B023
                for event in kept:
                    self.holding.added(event.key)
                    self._turns.done(event)
                for event in free:  # Meanwhile all before it was delivered.
                    await self._attempt(event)
                self._check_parked()
        finally:
            self._holding_back = False
            self._backlog.changed.set()

    async def _retry(self, key: str) -> None:
        held = self.holding[key]
        inserts = held.inserts
        event = await surely(lambda: self._held.head(self._stored, key))
        if event is None:
            soon = _now() + timedelta(seconds=LOOK_AGAIN_SECONDS)
            self.holding.free(key, inserts=inserts, retry_at=soon)
            return
        if self._is_expired(event):
            self._note(event, held.attempts, "expired")
            await self._release(event)
            return
        outcome = await self._sink.send(event)
        attempts = held.attempts + 1
        self._judge(event, attempts, outcome)
        if outcome.verdict is Verdict.DELIVERED:
            await self._release(event)
            return
        failure = self._failure(attempts, held.first_failed_at, outcome)
        await surely(lambda: self._held.postpone(self._stored, event, failure))
        self.holding.failed(key, failed_at=failure.first_failed_at, due_at=failure.due_at)
        if self._schedule.is_exhausted(failure.first_failed_at, _now()):
            await self._park(event)

    async def _release(self, event: LogEvent) -> None:
        await surely(lambda: self._held.release(self._stored, event))
        self.holding.delivered(event.key, _now())

    async def _park(self, event: LogEvent) -> None:
        key = event.key
        self.holding.park(key)
        await surely(lambda: self._held.park(self._stored, key))
        self._note(event, self.holding[key].attempts, "parked")
        log.warning("subscription_key_parked", tenant=self._stored.tenant, id=self._stored.id)
        self._check_parked()

    def _check_parked(self) -> None:
        if self.holding.parked >= PARKED_MAX:
            raise DisabledError("too_many_parked")

    def _judge(self, event: LogEvent, attempt: int, outcome: Outcome) -> None:
        """Note an outcome, and what it says about the receiver as a whole."""
        verdict = "disabled" if outcome.verdict is Verdict.GONE else outcome.verdict.value
        self._note(event, attempt, verdict, outcome)
        if outcome.verdict is Verdict.GONE:
            raise DisabledError("gone")
        if outcome.verdict is Verdict.DELIVERED:
            if self._failures >= AWAY_AFTER_FAILURES:
                self.holding.hasten(_now())
            self._failures = 0
            return
        self._failures += 1
        if outcome.retry_after_seconds is not None and outcome.status in {429, 503}:
            until = _now() + timedelta(seconds=outcome.retry_after_seconds)
            self._not_before = max(self._not_before, until)

    def _failure(
        self, attempts: int, first_failed_at: datetime | None, outcome: Outcome
    ) -> Failure:
        now = _now()
        error = outcome.detail if outcome.status is None else f"{outcome.status} {outcome.detail}"
        return Failure(
            attempts=attempts,
            first_failed_at=first_failed_at or now,
            due_at=self._schedule.next_at(
                attempts, now, self._random, retry_after=outcome.retry_after_seconds
            ),
            error=error.strip(),
        )

    def _note(
        self, event: LogEvent, attempt: int, outcome: str, answer: Outcome | None = None
    ) -> None:
        self._journal.note(
            Attempt(
                tenant=self._stored.tenant,
                subscription=self._stored.id,
                at=_now(),
                event_id=event.id,
                event_type=event.type,
                key=event.key,
                offset=event.offset,
                attempt=attempt,
                outcome=outcome,
                status=None if answer is None else answer.status,
                milliseconds=None if answer is None else answer.milliseconds,
                detail="" if answer is None else answer.detail,
            )
        )

    @staticmethod
    def _is_expired(event: LogEvent) -> bool:
        return event.expires_at is not None and event.expires_at <= _now()


def _now() -> datetime:
    return datetime.now(UTC)
