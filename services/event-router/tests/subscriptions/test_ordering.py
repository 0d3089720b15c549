"""Backlog, turns and held keys against plain models."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.subscriptions import (
    Protocol,
    ProtocolSettings,
    Subscription,
    SubscriptionState,
)
from lineshaft_event_router.subscriptions.backlog import Backlog, Budget, Turns
from lineshaft_event_router.subscriptions.courier import Courier, DisabledError
from lineshaft_event_router.subscriptions.journal import Journal
from lineshaft_event_router.subscriptions.records import (
    Attempt,
    Failure,
    HeldHead,
    LogEvent,
    Outcome,
    Stored,
    Verdict,
)

KEYS = "abc"


def event(offset: int, key: str = "a", **given: Any) -> LogEvent:
    return LogEvent(
        offset=offset,
        key=key,
        id=str(offset),
        type="t",
        message_id=str(offset),
        body=b"{}",
        **given,
    )


@given(st.lists(st.tuples(st.sampled_from(KEYS), st.integers(1, 3)), max_size=40), st.randoms())
def test_no_key_has_two_at_once_and_each_is_in_order(
    made: list[tuple[str, int]], random: Random
) -> None:
    backlog = Backlog(0)
    turns = Turns(backlog)
    offset, waiting, out, seen = 0, list[LogEvent](), list[LogEvent](), defaultdict[str, Any](list)
    for key, gap in made:
        offset += gap
        waiting.append(event(offset, key))
    unsettled = {one.offset for one in waiting}
    offered = list(waiting)
    while offered or out:
        if offered and random.random() < 0.5:
            backlog.offer(offered.pop(0))
        while random.random() < 0.7 and (taken := turns.take()) is not None:
            assert taken.key not in {one.key for one in out}
            seen[taken.key].append(taken.offset)
            out.append(taken)
        if out and random.random() < 0.7:
            done = out.pop(random.randrange(len(out)))
            turns.done(done)
            unsettled.discard(done.offset)
        if not offered and not out and (taken := turns.take()) is not None:
            seen[taken.key].append(taken.offset)
            out.append(taken)
        assert backlog.position <= min(unsettled, default=offset + 1)
    assert {key: sorted(offsets) for key, offsets in seen.items()} == dict(seen)
    assert sum(map(len, seen.values())) == len(made)
    assert backlog.position == (offset + 1 if made else 0)
    assert len(backlog) == 0


def test_an_event_that_was_read_before_is_nothing_new() -> None:
    backlog = Backlog(5)
    for offset in (4, 5, 5, 6):
        backlog.offer(event(offset))
    assert [one.offset for one in iter(backlog.take, None)] == [5, 6]


def test_what_was_put_back_comes_again_in_order() -> None:
    backlog = Backlog(0)
    for offset in range(4):
        backlog.offer(event(offset))
    taken = [one for _ in range(3) if (one := backlog.take())]
    backlog.put_back(taken[1:])
    assert [one.offset for one in iter(backlog.take, None)] == [1, 2, 3]


def test_one_budget_bounds_all_backlogs() -> None:
    budget = Budget(bytes_max=40)
    mine, other = Backlog(0, budget), Backlog(0, budget)
    for offset in range(20):
        mine.offer(event(offset))
    assert mine.is_full
    assert not other.is_full
    mine.close()
    assert budget.used == 0


class MemoryHeld:
    """Held events in memory; every write may take a while."""

    def __init__(self) -> None:
        self.rows: dict[int, tuple[LogEvent, int, datetime | None, bool]] = {}
        self.random = Random(1)

    async def _pause(self) -> None:
        for _ in range(self.random.randrange(4)):
            await asyncio.sleep(0)

    async def held(self, stored: Stored) -> list[HeldHead]:
        heads = dict[str, HeldHead]()
        for offset in sorted(self.rows):
            one, attempts, first, parked = self.rows[offset]
            events = sum(other[0].key == one.key for other in self.rows.values())
            heads.setdefault(
                one.key,
                HeldHead(
                    key=one.key,
                    events=events,
                    attempts=attempts,
                    first_failed_at=first,
                    due_at=datetime.now(UTC),
                    parked=parked,
                ),
            )
        return list(heads.values())

    async def hold(
        self,
        stored: Stored,
        events: Sequence[LogEvent],
        *,
        failure: Failure | None = None,
        parked: Sequence[bool] = (),
    ) -> int:
        await self._pause()
        attempts = 0 if failure is None else failure.attempts
        first = None if failure is None else failure.first_failed_at
        for one, given_up in zip(events, parked or [False] * len(events), strict=True):
            self.rows.setdefault(one.offset, (one, attempts, first, given_up))
        await self._pause()
        return len(events)

    async def head(self, stored: Stored, key: str) -> LogEvent | None:
        await self._pause()
        found = [offset for offset, row in self.rows.items() if row[0].key == key]
        await self._pause()
        return self.rows[min(found)][0] if found else None

    async def release(self, stored: Stored, event: LogEvent) -> None:
        await self._pause()
        self.rows.pop(event.offset)
        await self._pause()

    async def postpone(self, stored: Stored, event: LogEvent, failure: Failure) -> None:
        await self._pause()
        self.rows[event.offset] = (event, failure.attempts, failure.first_failed_at, False)

    async def park(self, stored: Stored, key: str) -> None:
        for offset, row in list(self.rows.items()):
            if row[0].key == key:
                self.rows[offset] = (*row[:3], True)


class NoJournal(Journal):
    def __init__(self) -> None:
        self.lines: list[Attempt] = []

    def note(self, attempt: Attempt) -> None:
        self.lines.append(attempt)


class Receiver:
    """Fails by plan, and remembers what it took."""

    def __init__(self, fails: Any) -> None:
        self.fails = fails
        self.taken: list[LogEvent] = []
        self.at_work: set[str] = set()
        self.calls = 0

    async def send(self, event: LogEvent) -> Outcome:
        self.calls += 1
        assert event.key not in self.at_work
        self.at_work.add(event.key)
        await asyncio.sleep(0)
        self.at_work.discard(event.key)
        verdict = self.fails(event, self.calls)
        if verdict is Verdict.DELIVERED:
            self.taken.append(event)
        return Outcome(verdict=verdict)


def stored(**given: Any) -> Stored:
    settings_ = ProtocolSettings.model_validate(
        {"retry_delay_seconds": 0.01, "retry_delay_seconds_max": 0.01, **given}
    )
    return Stored(
        tenant="acme",
        id="one",
        version=1,
        replays=0,
        subscription=Subscription(
            protocol=Protocol.HTTP, sink="http://hooks.example.com/", protocolsettings=settings_
        ),
        secrets=(),
        state=SubscriptionState.ACTIVE,
        position=0,
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.001)


async def run(courier: Courier, condition: Any) -> None:
    task = asyncio.create_task(courier.run())
    try:
        await until(lambda: condition() or task.done())
    finally:
        if not task.done():
            task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from(KEYS), min_size=1, max_size=40),
    st.lists(st.booleans(), max_size=30),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_whatever_fails_each_key_arrives_in_order(
    keys: list[str], failures: list[bool], concurrency: int, seed: int
) -> None:
    async def check() -> None:
        def fails(_: LogEvent, call: int) -> Verdict:
            failing = call <= len(failures) and failures[call - 1]
            return Verdict.FAILED if failing else Verdict.DELIVERED

        receiver, backlog, held = Receiver(fails), Backlog(0), MemoryHeld()
        held.random = Random(seed)
        courier = Courier(stored(concurrency=concurrency), backlog, receiver, held, NoJournal())
        for offset, key in enumerate(keys):
            backlog.offer(event(offset, key))
        await run(courier, lambda: len(receiver.taken) == len(keys) and not held.rows)
        for key in KEYS:
            offsets = [one.offset for one in receiver.taken if one.key == key]
            assert offsets == [offset for offset, one in enumerate(keys) if one == key]
        assert backlog.position == len(keys)

    asyncio.run(check())


async def test_a_key_that_fails_for_good_is_parked_and_the_others_go_on() -> None:
    def fails(event: LogEvent, _: int) -> Verdict:
        return Verdict.FAILED if event.key == "bad" else Verdict.DELIVERED

    receiver, backlog, held, journal = Receiver(fails), Backlog(0), MemoryHeld(), NoJournal()
    courier = Courier(stored(retry_for_seconds=0.05), backlog, receiver, held, journal)
    for offset in range(60):
        backlog.offer(event(offset, "bad" if offset % 3 == 0 else f"good-{offset % 7}"))
    await run(courier, lambda: len(receiver.taken) == 40 and courier.holding.parked == 20)
    assert all(row[3] for row in held.rows.values())
    assert sorted(held.rows) == list(range(0, 60, 3))
    assert backlog.position == 60
    assert [one.outcome for one in journal.lines].count("parked") == 1


async def test_a_receiver_that_is_gone_disables() -> None:
    receiver = Receiver(lambda *_: Verdict.GONE)
    backlog = Backlog(0)
    backlog.offer(event(0))
    with pytest.raises(DisabledError, match="gone"):
        await run(Courier(stored(), backlog, receiver, MemoryHeld(), NoJournal()), lambda: False)
    assert backlog.position == 0


async def test_what_is_expired_is_not_delivered() -> None:
    receiver, backlog, journal = Receiver(lambda *_: Verdict.DELIVERED), Backlog(0), NoJournal()
    past, future = (datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))
    backlog.offer(event(0, expires_at=past))
    backlog.offer(event(1, expires_at=future))
    await run(
        Courier(stored(), backlog, receiver, MemoryHeld(), journal),
        lambda: backlog.position == 2,
    )
    assert [one.offset for one in receiver.taken] == [1]
    assert [one.outcome for one in journal.lines] == ["expired", "delivered"]


async def test_what_was_held_before_a_restart_goes_first() -> None:
    receiver, backlog, held = Receiver(lambda *_: Verdict.DELIVERED), Backlog(2), MemoryHeld()
    held.rows[1] = (event(1), 3, datetime.now(UTC), False)
    held.rows[2] = (event(2), 0, None, False)
    for offset in (2, 3):  # The position was not kept: one is read again that is held already.
        backlog.offer(event(offset))
    await run(
        Courier(stored(), backlog, receiver, held, NoJournal()),
        lambda: not held.rows and backlog.position == 4 and len(receiver.taken) >= 3,
    )
    first = dict.fromkeys(one.offset for one in receiver.taken)
    assert list(first) == [1, 2, 3]
