"""Whose turn it is, for any mix of lanes, gaps and cancellations."""

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_event_router.turnstile import QUANTA, UNCONTESTED, Turnstile

LANES = tuple(QUANTA)
TURNS = 60

some_lanes = st.lists(st.sampled_from(LANES), min_size=2, unique=True)


async def tick(count: int) -> None:
    """Let everybody else run so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


class Line:
    """Lanes that always have work, and the record of who had a turn."""

    def __init__(self) -> None:
        self.turnstile = Turnstile()
        self.turns: list[tuple[str, int]] = []
        self.waits: list[int] = []
        self.inside = 0

    async def pass_once(self, lane: str, *, inside_ticks: int = 1) -> None:
        asked = len(self.turns) - self.inside
        async with self.turnstile.turn(lane) as events_max:
            self.waits.append(len(self.turns) - asked)
            self.inside += 1
            assert self.inside == 1, "two had a turn at once"
            self.turns.append((lane, events_max))
            try:
                await tick(inside_ticks)
            finally:
                self.inside -= 1

    async def work(self, lane: str, gap_ticks: int) -> None:
        """Pass again and again; between two turns there is an acknowledgement to write."""
        while len(self.turns) < TURNS:
            await self.pass_once(lane, inside_ticks=gap_ticks + 2)
            await tick(gap_ticks)


def run(lanes: list[str], gap_ticks: int) -> Line:
    async def work() -> Line:
        line = Line()
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for lane in lanes:
                group.create_task(line.work(lane, gap_ticks))
        return line

    return asyncio.run(work())


@settings(deadline=None, max_examples=25)
@given(lanes=some_lanes, gap_ticks=st.integers(0, 4))
def test_lanes_with_backlogs_share_the_events_by_weight(lanes: list[str], gap_ticks: int) -> None:
    line = run(lanes, gap_ticks)
    events = Counter[str]()
    for lane, count in line.turns[1:]:  # The very first one found nobody else.
        events[lane] += count
    total = sum(QUANTA[lane] for lane in lanes)
    for lane in lanes:
        due = sum(events.values()) * QUANTA[lane] / total
        assert abs(events[lane] - due) <= QUANTA["critical"]


@settings(deadline=None, max_examples=25)
@given(lanes=some_lanes, gap_ticks=st.integers(0, 4))
def test_nobody_waits_for_more_than_one_turn_of_each_other_lane(
    lanes: list[str], gap_ticks: int
) -> None:
    assert max(run(lanes, gap_ticks).waits) <= len(lanes) - 1


async def test_a_lane_that_was_idle_for_long_is_not_starved() -> None:
    line = Line()
    for _ in range(50):
        await line.pass_once("critical")
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        group.create_task(line.work("critical", 0))
        await tick(1)
        await group.create_task(line.pass_once("low"))
        assert [lane for lane, _ in line.turns].index("low") <= 51


async def test_who_is_alone_has_long_turns_and_a_short_one_after_somebody_else() -> None:
    line = Line()
    for lane in ("low", "low", "critical", "low", "low"):
        await line.pass_once(lane)
    assert [count for _, count in line.turns] == [
        UNCONTESTED,
        UNCONTESTED,
        QUANTA["critical"],
        QUANTA["low"],
        UNCONTESTED,
    ]


async def test_one_lane_keeps_the_order_of_asking() -> None:
    line, order = Line(), list[int]()

    async def passing(number: int) -> None:
        await line.pass_once("normal")
        order.append(number)

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(passing(number))
    assert order == list(range(20))


async def test_a_turn_that_fails_is_given_on() -> None:
    turnstile = Turnstile()
    with pytest.raises(ValueError, match="failed inside"):
        async with turnstile.turn("low"):
            raise ValueError("failed inside")
    async with asyncio.timeout(30), turnstile.turn("high"):
        pass


passages = st.lists(
    st.tuples(
        st.sampled_from(LANES),
        st.integers(0, 6),
        st.integers(0, 4),
        st.none() | st.integers(0, 12),
    ),
    max_size=25,
)


@settings(deadline=None, max_examples=150)
@given(passages=passages)
def test_a_cancellation_at_any_moment_loses_no_turn(
    passages: list[tuple[str, int, int, int | None]],
) -> None:
    async def work() -> None:
        line = Line()

        async def passing(lane: str, begins: int, inside_ticks: int) -> None:
            await tick(begins)
            await line.pass_once(lane, inside_ticks=inside_ticks)

        async def cancelling(task: asyncio.Task[None], after: int) -> None:
            await tick(after)
            task.cancel()

        tasks = list[asyncio.Task[None]]()
        cancellers = list[asyncio.Task[None]]()
        for lane, begins, inside_ticks, cancelled_after in passages:
            tasks.append(asyncio.create_task(passing(lane, begins, inside_ticks)))
            if cancelled_after is not None:
                cancellers.append(asyncio.create_task(cancelling(tasks[-1], cancelled_after)))
        async with asyncio.timeout(30):
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*cancellers)
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                task.result()
        for lane in LANES:
            async with asyncio.timeout(30), line.turnstile.turn(lane):
                pass

    asyncio.run(work())
