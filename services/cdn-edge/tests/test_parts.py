"""Range requests."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.ranges import UnsatisfiableError, parts_of

FRESH = {"Cache-Control": "max-age=60", "ETag": '"1"', "Content-Type": "image/png"}
BODY = b"0123456789"


@pytest.mark.parametrize(
    ("wanted", "part", "content_range"),
    [
        ("bytes=0-1", b"01", "bytes 0-1/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-99", BODY, "bytes 0-9/10"),
        ("bytes=5-99", b"56789", "bytes 5-9/10"),
    ],
)
async def test_a_part_is_served_from_the_whole(
    world: Any, answer: Any, wanted: str, part: bytes, content_range: str
) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    await world.ask()
    got = await world.ask(fields={"Range": wanted})
    assert (got.status, got.body, got.result) == (206, part, Result.HIT)
    assert got.fields["Content-Range"] == content_range


async def test_several_parts_come_as_multipart(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    got = await world.ask(fields={"Range": "bytes=0-0, -1"})
    assert got.status == 206
    boundary = got.fields["Content-Type"].removeprefix("multipart/byteranges; boundary=")
    assert got.body.count(f"--{boundary}".encode()) == 3
    assert b"Content-Range: bytes 9-9/10\r\n\r\n9\r\n" in got.body


async def test_a_part_of_nothing_stored_fetches_the_whole_once(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    got = await world.ask(fields={"Range": "bytes=2-3"})
    assert (got.status, got.body) == (206, b"23")
    assert "Range" not in world.origin.requests[0].fields
    assert (await world.ask()).body == BODY
    assert world.origin.count == 1


@pytest.mark.parametrize("wanted", ["bytes=10-", "bytes=-0", "bytes=99-100"])
async def test_a_part_beyond_the_end_is_416(world: Any, answer: Any, wanted: str) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    got = await world.ask(fields={"Range": wanted})
    assert (got.status, got.fields["Content-Range"], got.body) == (416, "bytes */10", b"")


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=",
        "bytes=a-b",
        "bytes=5-2",
        "items=0-1",
        "bytes=0-5,3-9",
        "bytes=" + ",".join(f"{n}-{n}" for n in range(0, 40, 2)),
    ],
)
async def test_a_range_that_makes_no_sense_is_ignored(
    world: Any, answer: Any, wanted: str
) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    got = await world.ask(fields={"Range": wanted})
    assert (got.status, got.body) == (200, BODY)


async def test_if_range_must_name_exactly_this_version(world: Any, answer: Any) -> None:
    world.will(answer(fields={**FRESH, "Last-Modified": world.date(-100)}, body=BODY))
    await world.ask()

    async def status(condition: str) -> int:
        return (await world.ask(fields={"Range": "bytes=0-1", "If-Range": condition})).status

    assert await status('"1"') == 206
    assert await status(world.date(-100)) == 206
    assert await status('"2"') == 200
    assert await status('W/"1"') == 200
    assert await status(world.date(-99)) == 200


async def test_a_partial_response_is_never_stored_as_whole(world: Any, answer: Any) -> None:
    world.will(answer(status=206, fields={**FRESH, "Content-Range": "bytes 0-1/10"}, body=b"01"))
    await world.ask()
    assert len(world.store) == 0


async def test_a_range_of_what_is_too_long_to_store_goes_to_the_origin(
    make_world: Any, answer: Any
) -> None:
    world = await make_world(object_bytes_max=5)
    world.will(answer(fields=FRESH, body=BODY), answer(status=206, body=b"01"))
    await world.ask()
    got = await world.ask(fields={"Range": "bytes=0-1"})
    assert got.status == 206
    assert world.origin.requests[1].fields["Range"] == "bytes=0-1"


async def test_a_range_of_a_head_is_ignored(world: Any, answer: Any) -> None:
    world.will(answer(fields=FRESH, body=BODY))
    await world.ask()
    assert (await world.ask(method="HEAD", fields={"Range": "bytes=0-1"})).status == 200


@given(st.text(max_size=40), st.integers(min_value=0, max_value=100))
def test_parts_lie_within_the_body_whatever_is_asked(text: str, length: int) -> None:
    try:
        parts = parts_of(f"bytes={text}", length)
    except UnsatisfiableError:
        return
    for part in parts or []:
        assert 0 <= part.first <= part.last < length
