"""Validation with the origin, and of what clients hold."""

from typing import Any

import pytest
from lineshaft_cdn_edge.messages import Result

TAGGED = {"Cache-Control": "max-age=60", "ETag": '"1"', "X-Old": "1"}


async def test_a_stale_response_is_validated_and_freshened(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={**TAGGED, "Last-Modified": world.date(-99)}),
        answer(status=304, fields={"Cache-Control": "max-age=90", "X-New": "2"}),
    )
    await world.ask()
    world.clock.advance(61)
    got = await world.ask()
    asked = world.origin.requests[1].fields
    assert asked["If-None-Match"] == '"1"'
    assert asked["If-Modified-Since"] == world.date(-99 - 61)
    assert (got.status, got.result, got.body) == (200, Result.REVALIDATED, b"body")
    assert (got.fields["X-Old"], got.fields["X-New"]) == ("1", "2")
    world.clock.advance(89)
    assert (await world.ask()).result is Result.HIT


async def test_a_304_does_not_speak_for_the_body(world: Any, answer: Any) -> None:
    lies = {"Content-Length": "9", "Content-Encoding": "br", "Content-Range": "bytes 0-1/2"}
    world.will(answer(fields=TAGGED), answer(status=304, fields={"ETag": '"1"', **lies}))
    await world.ask()
    world.clock.advance(61)
    got = await world.ask()
    assert got.fields["Content-Length"] == "4"
    assert not {"Content-Encoding", "Content-Range"} & set(got.fields)


async def test_a_304_about_another_version_mixes_nothing(world: Any, answer: Any) -> None:
    world.will(
        answer(fields=TAGGED, body=b"old!"),
        answer(status=304, fields={"ETag": '"2"', "X-Version": "2"}),
        answer(fields={**TAGGED, "ETag": '"2"'}, body=b"new!"),
    )
    await world.ask()
    world.clock.advance(61)
    got = await world.ask()
    assert got.body == b"new!"
    assert "If-None-Match" not in world.origin.requests[2].fields


async def test_a_changed_response_replaces_the_stale_one(world: Any, answer: Any) -> None:
    world.will(answer(fields=TAGGED), answer(fields={**TAGGED, "ETag": '"2"'}, body=b"new!"))
    await world.ask()
    world.clock.advance(61)
    assert (await world.ask()).body == b"new!"
    assert (await world.ask()).body == b"new!"


async def test_no_cache_is_validated_at_every_use(world: Any, answer: Any) -> None:
    fields = {"Cache-Control": "no-cache, max-age=60", "ETag": '"1"'}
    world.will(answer(fields=fields), answer(status=304, fields={"ETag": '"1"'}))
    await world.ask()
    for _ in range(3):
        assert (await world.ask()).result is Result.REVALIDATED
    assert world.origin.count == 4


async def test_policy_of_a_silent_origin_outlives_validation(world: Any, answer: Any) -> None:
    silent = {"Content-Type": "text/css", "ETag": '"1"'}
    world.will(answer(fields=silent), answer(status=304, fields={"ETag": '"1"'}))
    await world.ask("/main.css")
    world.clock.advance(4000)
    await world.ask("/main.css")
    got = await world.ask("/main.css")
    assert got.result is Result.HIT
    assert got.fields["Cache-Control"] == "public, max-age=3600"


@pytest.mark.parametrize("held", ['"1"', 'W/"1"', '"0", "1"', "*"])
async def test_a_client_that_holds_it_gets_304(world: Any, answer: Any, held: str) -> None:
    world.will(answer(fields=TAGGED))
    await world.ask()
    got = await world.ask(fields={"If-None-Match": held})
    assert (got.status, got.body, got.result) == (304, b"", Result.HIT)
    assert got.fields["ETag"] == '"1"'
    assert "Content-Length" not in got.fields


@pytest.mark.parametrize("held", ['"2"', '"1', "1", 'W/"11"'])
async def test_a_client_that_holds_another_gets_the_whole(
    world: Any, answer: Any, held: str
) -> None:
    world.will(answer(fields=TAGGED))
    await world.ask()
    assert (await world.ask(fields={"If-None-Match": held})).status == 200


async def test_the_tag_decides_before_the_date(world: Any, answer: Any) -> None:
    world.will(answer(fields={**TAGGED, "Last-Modified": world.date(-100)}))
    await world.ask()
    both = {"If-None-Match": '"2"', "If-Modified-Since": world.date()}
    assert (await world.ask(fields=both)).status == 200


async def test_a_date_not_before_the_last_change_gets_304(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "max-age=60", "Last-Modified": world.date(-100)}))
    await world.ask()
    assert (await world.ask(fields={"If-Modified-Since": world.date(-100)})).status == 304
    assert (await world.ask(fields={"If-Modified-Since": world.date(-101)})).status == 200


async def test_a_conditional_miss_fetches_the_whole_for_everybody(world: Any, answer: Any) -> None:
    world.will(answer(fields=TAGGED))
    got = await world.ask(fields={"If-None-Match": '"1"'})
    assert got.status == 304
    assert "If-None-Match" not in world.origin.requests[0].fields
    assert (await world.ask()).body == b"body"
    assert world.origin.count == 1


async def test_a_condition_holds_for_what_cannot_be_stored_too(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "private", "ETag": '"1"'}))
    assert (await world.ask(fields={"If-None-Match": '"1"'})).status == 304
    await world.ask(fields={"If-None-Match": '"1"'})
    assert world.origin.requests[1].fields["If-None-Match"] == '"1"'


async def test_a_precondition_for_a_change_is_the_origins_to_judge(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=TAGGED), answer(status=412))
    await world.ask()
    got = await world.ask(fields={"If-Match": '"2"'})
    assert got.status == 412
    assert world.origin.requests[1].fields["If-Match"] == '"2"'


async def test_a_304_for_an_error_page_is_never_made(world: Any, answer: Any) -> None:
    world.will(answer(status=404, fields=TAGGED))
    await world.ask()
    assert (await world.ask(fields={"If-None-Match": '"1"'})).status == 404
