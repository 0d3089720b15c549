"""What is stored, and when it answers instead of the origin."""

from typing import Any

import pytest
from lineshaft_cdn_edge.messages import Result

FRESH = {"Cache-Control": "max-age=60"}


async def test_a_fresh_response_is_reused_and_its_age_told(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    first = await world.ask()
    world.clock.advance(7)
    second = await world.ask()
    assert (first.result, second.result) == (Result.MISS, Result.HIT)
    assert second.body == b"body"
    assert "Age" not in first.fields
    assert second.fields["Age"] == "7"
    assert world.origin.count == 1


async def test_a_stale_response_is_not_reused(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    world.clock.advance(60)
    assert (await world.ask()).result is Result.MISS


@pytest.mark.parametrize(
    "fields",
    [
        {"Cache-Control": "no-store"},
        {"Cache-Control": "no-store, max-age=60"},
        {"Cache-Control": "private, max-age=60"},
        {"Cache-Control": "max-age=60", "Vary": "*"},
        {"Cache-Control": "max-age=60", "Vary": "Accept, *"},
        {"Cache-Control": "max-age=60", "Set-Cookie": "session=1"},
        {"Cache-Control": "max-age=0"},
        {"Cache-Control": "max-age=60, s-maxage=0"},
        {"Cache-Control": "max-age=60", "CDN-Cache-Control": "no-store"},
        {"Cache-Control": "max-age=60", "Surrogate-Control": "no-store"},
        {"Expires": "0"},
        {},
    ],
)
async def test_what_must_not_be_stored_is_not(
    world: Any, answer: Any, fields: dict[str, str]
) -> None:
    world.will(answer(fields=fields))
    await world.ask("/page.bin")
    await world.ask("/page.bin")
    assert world.origin.count == 2
    assert len(world.store) == 0


async def test_a_cookie_of_one_visitor_reaches_nobody_else(world: Any, answer: Any) -> None:
    fields = {"Cache-Control": 'max-age=60, no-cache="set-cookie"', "Set-Cookie": "session=1"}
    world.will(answer(fields=fields))
    first = await world.ask()
    second = await world.ask()
    assert first.fields["Set-Cookie"] == "session=1"
    assert second.result is Result.HIT
    assert "Set-Cookie" not in second.fields


async def test_fields_that_connection_lists_go_no_further(world: Any, answer: Any) -> None:
    fields = {**FRESH, "Connection": "a, close", "A": "1", "Keep-Alive": "x", "B": "2"}
    world.will(answer(fields=fields))
    for got in (await world.ask(), await world.ask()):
        assert got.fields["B"] == "2"
        assert not {"A", "Connection", "Keep-Alive"} & set(got.fields)


async def test_hop_by_hop_fields_of_the_client_stay_here(world: Any, answer: Any) -> None:
    world.will(answer())
    await world.ask(fields={"Connection": "x-secret", "X-Secret": "1", "TE": "trailers"})
    assert not {"connection", "te", "x-secret"} & {
        name.lower() for name in world.origin.requests[0].fields
    }


async def test_the_targeted_field_decides_alone(world: Any, answer: Any) -> None:
    fields = {"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60", "Expires": "0"}
    world.will(answer(fields=fields))
    await world.ask()
    assert (await world.ask()).result is Result.HIT


async def test_a_malformed_targeted_field_decides_nothing(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "no-store", "CDN-Cache-Control": "max-age=60,"}))
    await world.ask()
    assert (await world.ask()).result is Result.BYPASS


async def test_surrogate_control_is_for_this_cache_only(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Surrogate-Control": "max-age=60"}))
    first, second = await world.ask(), await world.ask()
    assert second.result is Result.HIT
    assert "Surrogate-Control" not in first.fields
    assert "Surrogate-Control" not in second.fields


async def test_an_unknown_status_needs_explicit_freshness(world: Any, answer: Any) -> None:
    world.will(answer(status=599, fields={"Last-Modified": world.date(-10_000)}))
    await world.ask("/guess")
    assert (await world.ask("/guess")).result is Result.BYPASS
    world.will(answer(status=599, fields=FRESH))
    await world.ask("/said")
    assert (await world.ask("/said")).status == 599
    assert world.origin.count == 3


async def test_must_understand_keeps_out_what_is_not_understood(world: Any, answer: Any) -> None:
    control = {"Cache-Control": "max-age=60, must-understand, no-store"}
    world.will(answer(status=599, fields=control), answer(status=200, fields=control))
    await world.ask("/unknown")
    await world.ask("/known")
    assert (await world.ask("/known")).result is Result.HIT
    assert not world.store.has(world.edge.purger._key("/unknown"))


async def test_a_heuristic_lifetime_is_a_tenth_of_the_time_since_the_last_change(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields={"Last-Modified": world.date(-1000), "Date": world.date()}))
    await world.ask()
    world.clock.advance(99)
    assert (await world.ask()).result is Result.HIT
    world.clock.advance(2)
    assert (await world.ask()).result is not Result.HIT


async def test_an_error_is_remembered_for_a_little_while(world: Any, answer: Any) -> None:
    world.will(answer(status=404))
    await world.ask()
    assert (await world.ask()).result is Result.HIT
    world.clock.advance(10)
    await world.ask()
    assert world.origin.count == 2


async def test_an_authorized_response_is_for_one_visitor(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask(fields={"Authorization": "Bearer a"})
    await world.ask(fields={"Authorization": "Bearer b"})
    assert world.origin.count == 2


@pytest.mark.parametrize("word", ["public", "s-maxage=60", "must-revalidate"])
async def test_an_authorized_response_is_shared_when_the_origin_says_so(
    world: Any, answer: Any, word: str
) -> None:
    world.will(answer(fields={"Cache-Control": f"max-age=60, {word}"}))
    await world.ask(fields={"Authorization": "Bearer a"})
    assert (await world.ask()).result is Result.HIT


async def test_negative_lifetimes_are_not_for_authorized_requests(world: Any, answer: Any) -> None:
    world.will(answer(status=404))
    await world.ask(fields={"Authorization": "Bearer a"})
    await world.ask()
    assert world.origin.count == 2


async def test_variants_are_kept_apart(world: Any, answer: Any) -> None:
    world.will(
        lambda request: answer(
            fields={**FRESH, "Vary": "Accept-Language"},
            body=request.fields["Accept-Language"].encode(),
        )
    )
    english, german = {"Accept-Language": "en"}, {"Accept-Language": "de"}
    assert (await world.ask(fields=english)).body == b"en"
    assert (await world.ask(fields=german)).body == b"de"
    assert (await world.ask(fields={"Accept-Language": " EN "})).body == b"en"
    assert world.origin.count == 2


async def test_a_url_has_a_bounded_number_of_variants(make_world: Any, answer: Any) -> None:
    world = await make_world(variants_max=3)
    world.will(answer(fields={**FRESH, "Vary": "User-Agent"}))
    for number in range(10):
        await world.ask(fields={"User-Agent": str(number)})
    assert len(world.store) == 3


async def test_head_is_answered_from_a_stored_get(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    got = await world.ask(method="HEAD")
    assert (got.result, got.body, got.length) == (Result.HIT, b"", 4)


async def test_a_head_never_answers_a_get(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask(method="HEAD")
    assert (await world.ask()).body == b"body"
    assert world.origin.count == 2


async def test_a_head_that_shows_a_change_makes_the_stored_response_stale(
    world: Any, answer: Any
) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=5", "ETag": '"1"'}),
        answer(fields={**FRESH, "ETag": '"2"'}),
        answer(fields={**FRESH, "ETag": '"2"'}, body=b"new!"),
    )
    await world.ask()
    world.clock.advance(6)
    await world.ask(method="HEAD")
    assert (await world.ask()).body == b"new!"


async def test_a_head_that_shows_none_freshens_it(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=5", "ETag": '"1"'}),
        answer(fields={**FRESH, "ETag": '"1"', "X-New": "1"}),
    )
    await world.ask()
    world.clock.advance(6)
    await world.ask(method="HEAD")
    got = await world.ask()
    assert got.result is Result.HIT
    assert got.fields["X-New"] == "1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH"])
async def test_a_successful_unsafe_request_invalidates(
    world: Any, answer: Any, method: str
) -> None:
    world.will(answer(fields=FRESH), answer(fields={"Location": "/other"}), answer(fields=FRESH))
    await world.ask()
    await world.ask(method=method)
    assert (await world.ask()).result is Result.MISS


async def test_it_invalidates_where_location_points(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask("/list/1")
    await world.ask("/list/2")
    world.will(answer(status=201, fields={"Location": "1", "Content-Location": "/list/2"}))
    await world.ask("/list/", method="POST")
    assert len(world.store) == 0


async def test_a_failed_unsafe_request_invalidates_nothing(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH), answer(status=500))
    await world.ask()
    await world.ask(method="POST")
    assert (await world.ask()).result is Result.HIT


async def test_a_trace_is_refused(world: Any) -> None:
    assert (await world.ask(method="TRACE")).status == 405


@pytest.mark.parametrize(
    ("control", "result"),
    [
        ("no-cache", Result.MISS),
        ("max-age=0", Result.MISS),
        ("max-age=5", Result.MISS),
        ("max-age=10", Result.HIT),
        ("min-fresh=51", Result.MISS),
        ("min-fresh=50", Result.HIT),
        ("only-if-cached", Result.HIT),
        ("nonsense", Result.HIT),
    ],
)
async def test_a_request_may_ask_for_fresher_responses(
    world: Any, answer: Any, control: str, result: Result
) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    world.clock.advance(10)
    assert (await world.ask(fields={"Cache-Control": control})).result is result


async def test_pragma_counts_without_cache_control(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    assert (await world.ask(fields={"Pragma": "no-cache"})).result is Result.MISS
    both = {"Pragma": "no-cache", "Cache-Control": "min-fresh=1"}
    assert (await world.ask(fields=both)).result is Result.HIT


async def test_a_request_may_take_a_stale_response(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask()
    world.clock.advance(70)
    assert (await world.ask(fields={"Cache-Control": "max-stale=10"})).result is Result.STALE
    assert (await world.ask(fields={"Cache-Control": "max-stale=9"})).result is Result.MISS


async def test_no_request_gets_stale_what_must_be_revalidated(world: Any, answer: Any) -> None:
    world.will(answer(fields={"Cache-Control": "max-age=60, must-revalidate"}))
    await world.ask()
    world.clock.advance(70)
    assert (await world.ask(fields={"Cache-Control": "max-stale"})).result is Result.MISS


async def test_only_if_cached_never_reaches_the_origin(world: Any) -> None:
    got = await world.ask(fields={"Cache-Control": "only-if-cached"})
    assert got.status == 504
    assert world.origin.count == 0


async def test_a_request_with_no_store_leaves_nothing_behind(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask(fields={"Cache-Control": "no-store"})
    assert len(world.store) == 0


async def test_too_long_a_target_is_refused(world: Any) -> None:
    assert (await world.ask("/" + "a" * 9000)).status == 414


async def test_an_unusable_target_is_refused(world: Any) -> None:
    got = await world.ask("/%zz")
    assert got.status == 400
    assert got.fields["Content-Type"] == "application/problem+json"


async def test_cache_status_says_what_happened(world: Any, answer: Any) -> None:
    world.will(answer(fields={**FRESH, "Cache-Status": "shield; hit"}))
    miss = await world.ask()
    world.clock.advance(1)
    hit = await world.ask()
    assert miss.cache_status == "lineshaft-test; fwd=uri-miss; fwd-status=200; stored; ttl=60"
    assert hit.cache_status == "lineshaft-test; hit; ttl=59"
    passed = await world.ask(method="POST")
    assert passed.cache_status == "shield; hit, lineshaft-test; fwd=method; fwd-status=200"


async def test_a_long_body_passes_through_without_being_kept(make_world: Any, answer: Any) -> None:
    world = await make_world(object_bytes_max=10)
    world.will(answer(fields=FRESH, body=b"x" * 11))
    got = await world.ask()
    assert (len(got.body), got.result) == (11, Result.BYPASS)
    assert len(world.store) == 0


async def test_a_body_that_grows_too_long_passes_through_without_being_kept(
    make_world: Any, answer: Any
) -> None:
    world = await make_world(object_bytes_max=10)
    world.will(answer(fields=FRESH, body=b"x" * 21, announces_length=False))
    got = await world.ask()
    assert len(got.body) == 21
    assert not got.is_cut
    assert len(world.store) == 0


async def test_it_invalidates_nothing_of_another_host(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH))
    await world.ask("/a")
    world.will(answer(status=201, fields={"Location": "http://other.example/a"}))
    await world.ask("/b", method="POST")
    assert (await world.ask("/a")).result is Result.HIT
    world.will(answer(status=201, fields={"Location": "http://EDGE.example:80/a"}))
    await world.ask("/b", method="POST")
    assert len(world.store) == 0


async def test_a_server_error_does_not_cost_the_stored_response(world: Any, answer: Any) -> None:
    world.will(
        answer(fields={"Cache-Control": "max-age=60, must-revalidate", "ETag": '"1"'}),
        answer(status=500),
        answer(status=304, fields={"ETag": '"1"'}),
    )
    await world.ask()
    world.clock.advance(61)
    assert (await world.ask()).status == 500
    assert (await world.ask()).result is Result.REVALIDATED
