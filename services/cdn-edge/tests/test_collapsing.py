"""Many requests, one fetch."""

import asyncio
from typing import Any

import pytest
from lineshaft_cdn_edge.edge import Limits
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.origin import OriginUnreachableError

FRESH = {"Cache-Control": "max-age=60"}


async def test_ten_thousand_clients_of_one_slow_object_cause_one_fetch(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, gate=gate))
    asking = [asyncio.create_task(world.ask()) for _ in range(10_000)]
    await world.until(lambda: world.origin.count == 1)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {got.body for got in answers} == {b"body"}
    assert world.origin.count == 1
    assert sum(got.result is Result.MISS for got in answers) == 1
    assert sum("collapsed" in got.cache_status for got in answers) == 9_999


async def test_waiters_get_the_body_while_it_arrives(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, body_gate=gate))
    leader = asyncio.create_task(world.ask())
    await world.until(lambda: len(world.origin.responses) == 1)
    waiter = asyncio.create_task(world.ask())
    gate.set()
    assert (await leader).body == (await waiter).body == b"body"
    assert world.origin.count == 1


async def test_what_cannot_be_shared_does_not_make_waiters_queue(world: Any, answer: Any) -> None:
    """All waiters go to the origin at once when the first response turns out private."""
    first, rest = asyncio.Event(), asyncio.Event()
    private = {"Cache-Control": "private"}
    world.will(answer(fields=private, gate=first), answer(fields=private, gate=rest))
    asking = [asyncio.create_task(world.ask()) for _ in range(20)]
    await world.until(lambda: world.origin.count == 1)
    first.set()
    await world.until(lambda: world.origin.count == 20)
    rest.set()
    assert {got.result for got in await asyncio.gather(*asking)} == {Result.BYPASS}


async def test_it_is_remembered_that_a_url_cannot_be_shared(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "private"}))
    await world.ask()
    gate = asyncio.Event()
    world.will(answer(fields={"Cache-Control": "private"}, gate=gate))
    asking = [asyncio.create_task(world.ask()) for _ in range(5)]
    await world.until(lambda: world.origin.count == 6)
    gate.set()
    await asyncio.gather(*asking)


async def test_a_url_that_becomes_storable_is_stored(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "private"}), answer(fields=FRESH))
    await world.ask()
    await world.ask()
    assert (await world.ask()).result is Result.HIT


async def test_a_response_with_no_cache_is_not_shared_with_waiters(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    fields = {"Cache-Control": "no-cache", "ETag": '"1"'}
    world.will(answer(fields=fields, gate=gate), answer(fields=fields))
    asking = [asyncio.create_task(world.ask()) for _ in range(3)]
    await world.until(lambda: world.origin.count == 1)
    gate.set()
    await asyncio.gather(*asking)
    assert world.origin.count == 3


async def test_waiters_of_another_variant_fetch_their_own_together(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    world.will(
        lambda request: answer(
            fields={**FRESH, "Vary": "X-Variant"},
            body=request.fields["X-Variant"].encode(),
            gate=gate,
        )
    )
    asking = [
        asyncio.create_task(world.ask(fields={"X-Variant": str(number % 3)}))
        for number in range(30)
    ]
    await world.until(lambda: world.origin.count >= 1)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert [got.body.decode() for got in answers] == [str(number % 3) for number in range(30)]
    assert world.origin.count == 3


async def test_a_failure_reaches_all_waiters_and_sticks_to_nobody(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(error=OriginUnreachableError(), gate=gate), answer(fields=FRESH))
    asking = [asyncio.create_task(world.ask()) for _ in range(5)]
    await world.until(lambda: world.origin.count == 1)
    gate.set()
    assert {got.status for got in await asyncio.gather(*asking)} == {502}
    assert (await world.ask()).status == 200


async def test_a_fault_of_our_own_leaves_no_stuck_flight(world: Any, answer: Any) -> None:
    def explode(_: Any) -> Any:
        raise RuntimeError

    world.will(explode, answer(fields=FRESH))
    assert (await world.ask()).status == 502
    assert (await world.ask()).status == 200


async def test_a_leader_that_leaves_does_not_take_the_response_along(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, gate=gate))
    leader = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 1)
    waiter = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    leader.cancel()
    gate.set()
    assert (await waiter).body == b"body"
    assert world.origin.count == 1


async def test_a_leader_that_leaves_a_private_response_closes_it(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields={"Cache-Control": "private"}, gate=gate))
    leader = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 1)
    leader.cancel()
    await asyncio.gather(leader, return_exceptions=True)
    gate.set()
    await world.settled()
    assert world.origin.responses[0].body.is_closed


async def test_waiting_has_a_bound_in_number(make_world: Any, answer: Any) -> None:
    world = await make_world(limits=Limits(waiters_max=2))
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, gate=gate))
    asking = [asyncio.create_task(world.ask()) for _ in range(4)]
    await world.until(lambda: sum(task.done() for task in asking) == 2)
    gate.set()
    statuses = [got.status for got in await asyncio.gather(*asking)]
    assert sorted(statuses) == [200, 200, 503, 503]


async def test_waiting_has_a_bound_in_time(make_world: Any, answer: Any) -> None:
    world = await make_world(limits=Limits(wait_timeout_seconds=0.01))
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, gate=gate))
    assert (await world.ask()).status == 504
    gate.set()
    await world.settled()
    assert (await world.ask()).result is Result.HIT


async def test_validations_of_one_stale_response_are_one(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(
        answer(fields={**FRESH, "ETag": '"1"'}),
        answer(status=304, fields={"ETag": '"1"'}, gate=gate),
    )
    await world.ask()
    world.clock.advance(61)
    asking = [asyncio.create_task(world.ask()) for _ in range(20)]
    await world.until(lambda: world.origin.count == 2)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {got.result for got in answers} == {Result.REVALIDATED}
    assert world.origin.count == 2


async def test_a_slow_reader_does_not_grow_the_memory_of_a_long_body(
    make_world: Any, answer: Any
) -> None:
    world = await make_world(object_bytes_max=100)
    body = b"x" * 2_000_000
    world.will(answer(fields=FRESH, body=body, announces_length=False))
    asking = [asyncio.create_task(world.ask()) for _ in range(2)]
    first, second = await asking[0], await asking[1]
    assert first.body == second.body == body
    assert not first.is_cut


@pytest.mark.parametrize("fields", [{"Range": "bytes=0-1"}, {"If-None-Match": '"0"'}])
async def test_a_body_that_grows_too_long_is_asked_for_again_when_a_part_was_wanted(
    make_world: Any, answer: Any, fields: dict[str, str]
) -> None:
    world = await make_world(object_bytes_max=10)
    world.will(answer(fields=FRESH, body=b"x" * 21, announces_length=False))
    got = await world.ask(fields=fields)
    assert got.result is Result.BYPASS
    assert next(iter(fields)) in world.origin.requests[1].fields


async def test_waiters_outlive_the_leader_of_a_private_response(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields={"Cache-Control": "private"}, gate=gate))
    leader = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 1)
    waiter = asyncio.create_task(world.ask())
    await asyncio.sleep(0)
    leader.cancel()
    gate.set()
    assert (await waiter).status == 200


async def test_bodies_on_their_way_together_have_a_bound(make_world: Any, answer: Any) -> None:
    world = await make_world(bytes_max=100_000, object_bytes_max=80_000)
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, body=b"x" * 70_000, body_gate=gate, announces_length=False))
    asking = [asyncio.create_task(world.ask(f"/{number}")) for number in range(10)]
    await world.until(lambda: len(world.origin.responses) == 10)
    gate.set()
    answers = await asyncio.gather(*asking)
    assert {len(got.body) for got in answers} == {70_000}
    assert not any(got.is_cut for got in answers)
    assert world.store.used_bytes <= 100_000
