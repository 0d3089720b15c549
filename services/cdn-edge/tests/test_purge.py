"""Purges, and what they catch in flight."""

import asyncio
from typing import Any

import pytest
from lineshaft_cdn_edge.cache_key import InvalidTargetError
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.origin import OriginUnreachableError

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"'}


async def test_a_purged_url_is_fetched_again(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask("/a?x=1")
    assert world.edge.purger.url("https://any.example/b/../a?x=1") == 1
    assert (await world.ask("/a?x=1")).result is Result.MISS


async def test_a_purge_takes_every_variant_and_nothing_else(world: Any, answer: Any) -> None:
    world.will(answer(fields={**FRESH, "Vary": "X-Variant"}))
    for variant in "123":
        await world.ask("/a", {"X-Variant": variant})
    await world.ask("/ab")
    assert world.edge.purger.url("/a") == 3
    assert (await world.ask("/ab")).result is Result.HIT


async def test_a_purge_takes_the_stale_copy_too(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH), answer(error=OriginUnreachableError()))
    await world.ask()
    world.clock.advance(100)
    assert world.edge.purger.url("/asset") == 1
    assert (await world.ask()).status == 502


async def test_a_repeated_purge_finds_nothing(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    assert (world.edge.purger.url("/asset"), world.edge.purger.url("/asset")) == (1, 0)


async def test_a_response_asked_for_before_a_purge_is_not_stored_after_it(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, body=b"old!", gate=gate), answer(fields=FRESH, body=b"new!"))
    asking = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 1)
    world.edge.purger.url("/asset")
    gate.set()
    assert (await asking).body == b"old!"
    assert len(world.store) == 0
    assert (await world.ask()).body == b"new!"


async def test_a_request_after_a_purge_does_not_join_what_began_before_it(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, body=b"old!", gate=gate), answer(fields=FRESH, body=b"new!"))
    before = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 1)
    world.edge.purger.url("/asset")
    after = await world.ask()
    gate.set()
    assert ((await before).body, after.body) == (b"old!", b"new!")
    assert (await world.ask()).body == b"new!"


async def test_a_purge_catches_a_body_that_is_half_read(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, body_gate=gate), answer(fields=FRESH, body=b"new!"))
    asking = asyncio.create_task(world.ask())
    await world.until(lambda: len(world.origin.responses) == 1)
    world.edge.purger.url("/asset")
    gate.set()
    assert (await asking).body == b"body"
    await world.settled()
    assert (await world.ask()).body == b"new!"


async def test_a_purge_catches_a_validation(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=FRESH), answer(status=304, fields={"ETag": '"1"'}, gate=gate))
    await world.ask()
    world.clock.advance(61)
    asking = asyncio.create_task(world.ask())
    await world.until(lambda: world.origin.count == 2)
    world.edge.purger.url("/asset")
    gate.set()
    await asking
    assert len(world.store) == 0


async def test_a_purge_is_not_undone_by_a_late_compressed_form(world: Any, answer: Any) -> None:
    fields = {**FRESH, "Content-Type": "text/css"}
    world.will(answer(fields=fields, body=b"a{} " * 1000))
    await world.ask("/a.css")
    world.edge.purger.url("/a.css")
    await world.settled()
    assert len(world.store) == 0


async def test_a_soft_purge_leaves_a_stale_copy(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH), answer(status=304, fields={"ETag": '"1"', **FRESH}))
    await world.ask()
    assert world.edge.purger.url("/asset", soft=True) == 1
    assert (await world.ask()).result is Result.REVALIDATED
    assert (await world.ask()).result is Result.HIT


async def test_a_softly_purged_copy_stands_in_for_a_failing_origin(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=FRESH), answer(error=OriginUnreachableError()))
    await world.ask()
    world.edge.purger.url("/asset", soft=True)
    assert (await world.ask()).result is Result.STALE


async def test_a_prefix_purges_all_below_it(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    for path in ("/a/1", "/a/2?x", "/b/1"):
        await world.ask(path)
    assert world.edge.purger.prefix("/a/") == 2
    assert (await world.ask("/b/1")).result is Result.HIT


async def test_everything_can_be_purged(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    for path in ("/1", "/2", "/3"):
        await world.ask(path)
    assert world.edge.purger.everything() == 3
    assert len(world.store) == 0
    assert world.store.used_bytes == 0


async def test_a_purge_lets_a_url_be_shared_again(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "private"}))
    await world.ask()
    world.edge.purger.everything()
    gate = asyncio.Event()
    world.will(answer(fields=FRESH, gate=gate))
    asking = [asyncio.create_task(world.ask()) for _ in range(3)]
    await world.until(lambda: world.origin.count == 2)
    gate.set()
    await asyncio.gather(*asking)
    assert world.origin.count == 2


async def test_a_url_without_host_is_refused_where_hosts_are_told_apart(make_world: Any) -> None:
    world = await make_world(keyed_host=True)
    with pytest.raises(InvalidTargetError):
        world.edge.purger.url("/asset")
