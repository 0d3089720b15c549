"""What must not get into the cache, or out of it to the wrong person."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from lineshaft_cdn_edge.messages import Result

FRESH = {"Cache-Control": "max-age=60"}


async def stream(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


@pytest.mark.parametrize(
    "name",
    [
        "X-Forwarded-Host",
        "X-Forwarded-Scheme",
        "X-Forwarded-For",
        "X-Host",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-HTTP-Method-Override",
        "Forwarded",
    ],
)
async def test_fields_that_no_key_contains_do_not_reach_the_origin(
    world: Any, answer: Any, name: str
) -> None:
    world.will(answer(fields=FRESH))
    await world.ask(fields={name: "attacker.example"})
    assert name not in world.origin.requests[0].fields


async def test_the_host_reaches_the_origin_only_where_it_is_keyed(
    make_world: Any, answer: Any
) -> None:
    plain, keyed = await make_world(), await make_world(keyed_host=True)
    for world in (plain, keyed):
        world.will(answer(fields=FRESH))
        await world.ask(authority="attacker.example")
        await world.ask(authority="edge.example")
    assert (plain.origin.count, keyed.origin.count) == (1, 2)
    assert [request.host for request in keyed.origin.requests] == [
        "attacker.example",
        "edge.example",
    ]
    assert plain.origin.requests[0].host == ""
    assert "Host" not in plain.origin.requests[0].fields


async def test_an_absolute_target_is_the_same_resource(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask("/a")
    assert (await world.ask("http://edge.example/a")).result is Result.HIT


async def test_what_is_asked_is_what_is_keyed(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask("/a/../b/%7Ec?utm_source=x&d=1")
    assert world.origin.requests[0].target == "/b/~c?d=1"


async def test_a_get_with_a_body_is_neither_stored_nor_answered_from_the_store(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=FRESH, body=b"mine"))
    got = await world.ask(body=stream(b"q=mine"))
    assert got.body == b"mine"
    assert len(world.store) == 0
    world.will(answer(fields=FRESH, body=b"all!"))
    await world.ask()
    assert (await world.ask(body=stream(b"q"))).result is Result.BYPASS


async def test_a_login_page_under_the_name_of_a_style_sheet_is_not_stored(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields={"Content-Type": "text/html"}, body=b"<h1>Hello, Ann</h1>"))
    await world.ask("/account/x.css", {"Cookie": "session=ann"})
    await world.ask("/account/x.css")
    assert world.origin.count == 2
    assert len(world.store) == 0


async def test_a_static_asset_is_asked_for_without_cookies(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Content-Type": "text/css"}))
    await world.ask("/a.css", {"Cookie": "session=ann"})
    assert "Cookie" not in world.origin.requests[0].fields
    assert (await world.ask("/a.css")).result is Result.HIT


async def test_a_page_made_for_a_cookie_is_not_shared_on_a_guess(world: Any, answer: Any) -> None:
    fields = {"Content-Type": "text/html", "Last-Modified": world.date(-10_000), "ETag": '"1"'}
    world.will(answer(fields=fields))
    await world.ask("/home", {"Cookie": "session=ann"})
    assert world.origin.requests[0].fields["Cookie"] == "session=ann"
    assert len(world.store) == 0


@pytest.mark.parametrize("word", ["no-store", "private"])
async def test_policy_never_overrides_the_origin(world: Any, answer: Any, word: str) -> None:
    world.will(answer(fields={"Content-Type": "text/css", "Cache-Control": word}))
    await world.ask("/a.css")
    await world.ask("/a.css")
    assert world.origin.count == 2
    assert len(world.store) == 0


async def test_a_cookie_in_a_304_is_not_stored(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={**FRESH, "ETag": '"1"'}),
        answer(status=304, fields={**FRESH, "ETag": '"1"', "Set-Cookie": "session=ann"}),
    )
    await world.ask()
    world.clock.advance(61)
    validated, hit = await world.ask(), await world.ask()
    assert validated.fields["Set-Cookie"] == "session=ann"
    assert (hit.result, "Set-Cookie" in hit.fields) == (Result.HIT, False)


async def test_conditions_of_a_client_do_not_shape_what_is_stored(world: Any, answer: Any) -> None:
    world.will(answer(fields={**FRESH, "ETag": '"1"'}))
    await world.ask(fields={"If-Range": '"1"', "Range": "bytes=0-0", "If-None-Match": '"0"'})
    assert not {"If-Range", "Range", "If-None-Match"} & set(world.origin.requests[0].fields)
    assert (await world.ask()).body == b"body"


async def test_the_clients_wish_for_a_coding_does_not_shape_what_is_stored(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields={**FRESH, "Vary": "Accept-Encoding"}))
    await world.ask(fields={"Accept-Encoding": "deflate, evil"})
    assert world.origin.requests[0].fields["Accept-Encoding"] == "identity"
    assert (await world.ask(fields={"Accept-Encoding": "br"})).result is Result.HIT
