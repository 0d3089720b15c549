"""What must not get into the cache, or out of it to the wrong person."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.policy import CREDENTIAL_FIELDS, load_policy

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


CREDENTIALS = pytest.mark.parametrize(
    "name",
    [
        "X-Api-Key",
        "api-key",
        "X-Auth-Token",
        "X-Access-Token",
        "X-CSRF-Token",
        "Proxy-Authorization",
        "X-Amz-Security-Token",
    ],
)


@CREDENTIALS
@pytest.mark.parametrize(
    "fields",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "application/json", "Cache-Control": "public"},
        {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "ETag": '"1"'},
        {"Cache-Control": "max-age=60"},
        {"Cache-Control": "no-cache", "ETag": '"1"'},
        {"Content-Type": "application/json", "Cache-Control": "public, max-age=x"},
    ],
)
async def test_a_body_made_for_credentials_is_not_given_to_others(
    world: Any, answer: Any, name: str, fields: dict[str, str]
) -> None:
    world.will(answer(fields=fields, body=b"alice"), answer(fields=fields, body=b"all"))
    assert (await world.ask("/key.json", {name: "alice"})).body == b"alice"
    await world.settled()
    assert len(world.store) == 0
    assert (await world.ask("/key.json")).body == b"all"


@CREDENTIALS
async def test_an_error_made_for_credentials_is_not_remembered(
    world: Any, answer: Any, name: str
) -> None:
    world.will(answer(status=404), answer(body=b"here", fields=FRESH))
    assert (await world.ask("/a", {name: "alice"})).status == 404
    assert (await world.ask("/a")).body == b"here"


@pytest.mark.parametrize("control", ["public, max-age=60", "s-maxage=60"])
async def test_what_the_origin_declares_for_everybody_is_stored_whoever_asked(
    world: Any, answer: Any, control: str
) -> None:
    world.will(answer(fields={"Cache-Control": control}))
    await world.ask("/key.json", {"X-Api-Key": "alice"})
    assert (await world.ask("/key.json")).result is Result.HIT


async def test_credentials_keep_nothing_out_of_the_store_for_others(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields={"Content-Type": "application/json"}))
    await world.ask("/a.json", {"X-Api-Key": "alice"})
    await world.ask("/a.json")
    assert (await world.ask("/a.json")).result is Result.HIT


async def test_nobody_waits_for_an_answer_made_for_the_credentials_of_another(
    world: Any, answer: Any
) -> None:
    gate = asyncio.Event()
    fields = {"Content-Type": "application/json"}
    world.will(answer(gate=gate, fields=fields, body=b"alice"), answer(fields=fields, body=b"all"))
    alice = asyncio.ensure_future(world.ask("/key.json", {"X-Api-Key": "alice"}))
    await world.until(lambda: world.origin.count == 1)
    assert (await world.ask("/key.json")).body == b"all"
    gate.set()
    assert (await alice).body == b"alice"


def test_a_policy_names_the_fields_that_carry_credentials() -> None:
    policy = load_policy()
    assert policy.credential_request_fields == CREDENTIAL_FIELDS
    other = policy.model_copy(update={"credential_request_fields": ("X-Who",)})
    assert other.carries_credentials(Fields({"x-who": "alice"}))
    assert not other.carries_credentials(Fields({"X-Api-Key": "alice"}))


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
