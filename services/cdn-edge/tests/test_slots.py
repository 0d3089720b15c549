"""How the requests at the origin are shared out."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from lineshaft_cdn_edge.slots import Slots


async def is_blocked(waiting: Coroutine[Any, Any, Any]) -> bool:
    """Whether something still waits after the loop had time for all that is ready."""
    task = asyncio.ensure_future(waiting)
    for _ in range(10):
        await asyncio.sleep(0)
    blocked = not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return blocked


async def test_passing_through_takes_at_most_half_and_leaves_fills_the_rest() -> None:
    slots = Slots(5, passing_per_client_max=9)
    for client in ("a", "b"):
        await slots.acquire(client=client, fills=False)
    assert await is_blocked(slots.acquire(client="c", fills=False))
    for _ in range(3):
        await slots.acquire(client="a", fills=True)
    assert await is_blocked(slots.acquire(client="a", fills=True))


async def test_one_client_leaves_room_for_another() -> None:
    slots = Slots(20, passing_per_client_max=2)
    held = [await slots.acquire(client="a", fills=False) for _ in range(2)]
    assert await is_blocked(slots.acquire(client="a", fills=False))
    assert not await is_blocked(slots.acquire(client="b", fills=False))
    held[0].release()
    assert not await is_blocked(slots.acquire(client="a", fills=False))


async def test_a_fill_that_passes_through_makes_room_for_a_fill() -> None:
    slots = Slots(2, passing_per_client_max=2)
    fill = await slots.acquire(client="a", fills=True)
    assert await fill.pass_through()
    other = await slots.acquire(client="a", fills=True)
    assert not await other.pass_through()
    fill.release()
    assert await other.pass_through()


@pytest.mark.parametrize("fills", [True, False])
async def test_a_slot_is_given_back_once(*, fills: bool) -> None:
    slots = Slots(2, passing_per_client_max=1)
    slot = await slots.acquire(client="a", fills=fills)
    slot.release()
    slot.release()
    await slots.acquire(client="a", fills=fills)
    assert await is_blocked(slots.acquire(client="a", fills=fills))


async def test_whoever_gives_up_waiting_leaves_nothing_behind() -> None:
    slots = Slots(2, passing_per_client_max=1)
    slot = await slots.acquire(client="a", fills=False)
    assert await is_blocked(slots.acquire(client="a", fills=False))
    assert await is_blocked(slots.acquire(client="b", fills=False))
    slot.release()
    assert slots.has_room("a")
    assert slots.has_room("b")


async def test_without_room_a_private_answer_is_asked_for_again_in_its_turn(
    world: Any, answer: Any
) -> None:
    private = {"Cache-Control": "private"}
    world.will(answer(fields=private, has_room=False), answer(fields=private, body=b"again"))
    assert (await world.ask()).body == b"again"
    assert world.origin.responses[0].body.is_closed
    assert [request.fills for request in world.origin.requests] == [True, False]
