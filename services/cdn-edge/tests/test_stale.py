"""Stale responses: while the origin is asked, and when it fails."""

import asyncio
from typing import Any

import pytest
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.origin import (
    OriginTimeoutError,
    OriginTruncatedError,
    OriginUnreachableError,
)

SWR = {"Cache-Control": "max-age=60, stale-while-revalidate=30"}


async def test_a_stale_response_answers_at_once_while_the_origin_is_asked(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=SWR), answer(fields=SWR, body=b"new!"))
    await world.ask()
    world.clock.advance(70)
    assert ((await world.ask()).body, (await world.ask()).result) == (b"body", Result.STALE)
    await world.settled()
    assert (await world.ask()).body == b"new!"
    assert world.origin.count == 2


async def test_many_at_once_cause_one_refresh(world: Any, answer: Any) -> None:
    gate = asyncio.Event()
    world.will(answer(fields=SWR), answer(fields=SWR, gate=gate))
    await world.ask()
    world.clock.advance(70)
    results = await asyncio.gather(*(world.ask() for _ in range(50)))
    gate.set()
    await world.settled()
    assert {got.result for got in results} == {Result.STALE}
    assert world.origin.count == 2


async def test_beyond_its_time_it_is_not_served(world: Any, answer: Any) -> None:
    world.will(answer(fields=SWR), answer(fields=SWR, body=b"new!"))
    await world.ask()
    world.clock.advance(91)
    assert (await world.ask()).body == b"new!"


async def test_a_refresh_that_fails_is_tried_again(world: Any, answer: Any) -> None:
    world.will(answer(fields=SWR), answer(error=OriginUnreachableError()), answer(fields=SWR))
    await world.ask()
    world.clock.advance(70)
    await world.ask()
    await world.settled()
    await world.ask()
    await world.settled()
    assert world.origin.count == 3
    assert (await world.ask()).result is Result.HIT


async def test_a_refresh_that_may_not_be_stored_leaves_nothing_open(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=SWR), answer(fields={"Cache-Control": "private"}))
    await world.ask()
    world.clock.advance(70)
    await world.ask()
    await world.settled()
    assert world.origin.responses[1].body.is_closed
    assert len(world.store) == 0


@pytest.mark.parametrize(
    "failure",
    [
        {"error": OriginUnreachableError()},
        {"error": OriginTimeoutError()},
        {"status": 503},
        {"status": 500},
    ],
)
@pytest.mark.parametrize("control", ["max-age=60", "max-age=60, stale-if-error=100"])
async def test_a_stale_response_stands_in_for_a_failing_origin(
    world: Any, answer: Any, failure: dict[str, Any], control: str
) -> None:
    world.will(answer(fields={"Cache-Control": control}), answer(**failure))
    await world.ask()
    world.clock.advance(70)
    got = await world.ask()
    assert (got.status, got.body, got.result) == (200, b"body", Result.STALE)
    assert "stale-if-error" in got.cache_status


@pytest.mark.parametrize(
    "control",
    [
        "max-age=60, must-revalidate",
        "max-age=60, proxy-revalidate",
        "no-cache",
        "s-maxage=60",
        "max-age=60, stale-if-error=5",
    ],
)
async def test_what_may_not_be_served_stale_is_not(world: Any, answer: Any, control: str) -> None:
    world.will(
        answer(fields={"Cache-Control": control, "ETag": '"1"'}),
        answer(error=OriginUnreachableError()),
    )
    await world.ask()
    world.clock.advance(70)
    assert (await world.ask()).status == 502


async def test_a_client_that_wants_it_validated_gets_no_stand_in(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=60"}), answer(error=OriginUnreachableError())
    )
    await world.ask()
    assert (await world.ask(fields={"Cache-Control": "no-cache"})).status == 502


async def test_grace_ends(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=60"}), answer(error=OriginUnreachableError())
    )
    await world.ask()
    world.clock.advance(86_400 + 61)
    assert (await world.ask()).status == 502


@pytest.mark.parametrize(
    ("error", "status"),
    [(OriginUnreachableError(), 502), (OriginTimeoutError(), 504), (OriginTruncatedError(), 502)],
)
async def test_a_failing_origin_is_answered_with_a_problem(
    world: Any, answer: Any, error: Exception, status: int
) -> None:
    world.will(answer(error=error))
    got = await world.ask()
    assert (got.status, got.result) == (status, Result.ERROR)
    assert got.fields["Content-Type"] == "application/problem+json"
    assert got.fields["Cache-Control"] == "no-store"


async def test_a_truncated_body_is_cut_for_the_client_and_not_stored(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields={"Cache-Control": "max-age=60"}, cut_after=2))
    got = await world.ask()
    assert got.is_cut
    assert len(world.store) == 0


async def test_a_body_whose_end_is_not_certain_is_not_stored(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=60"}, announces_length=False, is_framed=False)
    )
    got = await world.ask()
    assert (got.body, got.is_cut) == (b"body", False)
    assert len(world.store) == 0
