"""Compressed forms of stored bodies."""

import zlib
from typing import Any

import brotli
import pytest
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.vary import accepted_codings

TEXT = b"body { margin: 0; color: #123456 } " * 200
STYLE = {"Cache-Control": "max-age=60", "Content-Type": "text/css", "ETag": '"1"'}


def plain(coding: str, body: bytes) -> bytes:
    untyped: Any = brotli
    return zlib.decompress(body, wbits=31) if coding == "gzip" else untyped.decompress(body)


@pytest.mark.parametrize("coding", ["gzip", "br"])
async def test_the_first_answer_is_compressed_quickly_and_the_next_densely(
    world: Any, answer: Any, coding: str
) -> None:
    world.will(answer(fields=STYLE, body=TEXT))
    first = await world.ask("/a.css", {"Accept-Encoding": coding})
    await world.settled()
    second = await world.ask("/a.css", {"Accept-Encoding": coding})
    for got in (first, second):
        assert got.fields["Content-Encoding"] == coding
        assert plain(coding, got.body) == TEXT
        assert got.saved_bytes == len(TEXT) - len(got.body) > 0
    assert len(second.body) <= len(first.body)
    assert (second.result, world.origin.count) == (Result.HIT, 1)


async def test_every_form_has_the_right_tag_and_varies(world: Any, answer: Any) -> None:
    world.will(answer(fields={**STYLE, "Accept-Ranges": "bytes", "Content-MD5": "x"}, body=TEXT))
    await world.ask("/a.css")
    await world.settled()
    identity = await world.ask("/a.css")
    encoded = await world.ask("/a.css", {"Accept-Encoding": "br"})
    assert identity.fields["ETag"] == '"1"'
    assert encoded.fields["ETag"] == 'W/"1"'
    assert identity.fields["Vary"] == encoded.fields["Vary"] == "Accept-Encoding"
    assert not {"Accept-Ranges", "Content-MD5"} & set(encoded.fields)
    assert identity.body == TEXT
    assert identity.saved_bytes == 0


async def test_a_client_that_holds_a_compressed_form_gets_304(world: Any, answer: Any) -> None:
    world.will(answer(fields=STYLE, body=TEXT))
    held = (await world.ask("/a.css", {"Accept-Encoding": "br"})).fields["ETag"]
    got = await world.ask("/a.css", {"Accept-Encoding": "br", "If-None-Match": held})
    assert got.status == 304
    assert got.fields["Vary"] == "Accept-Encoding"


async def test_a_part_of_a_compressible_body_is_of_the_plain_form(world: Any, answer: Any) -> None:
    world.will(answer(fields=STYLE, body=TEXT))
    await world.ask("/a.css")
    await world.settled()
    got = await world.ask("/a.css", {"Accept-Encoding": "br", "Range": "bytes=0-3"})
    assert (got.status, got.body) == (206, TEXT[:4])
    assert "Content-Encoding" not in got.fields


async def test_a_weak_tag_never_allows_a_part(world: Any, answer: Any) -> None:
    world.will(answer(fields=STYLE, body=TEXT))
    await world.ask("/a.css")
    got = await world.ask("/a.css", {"Range": "bytes=0-3", "If-Range": 'W/"1"'})
    assert got.status == 200


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"Content-Type": "image/png"}, TEXT),
        ({"Content-Type": "text/css"}, b"a{}"),
        ({"Content-Type": "text/css", "Content-Encoding": "gzip"}, TEXT),
        ({"Content-Type": "text/css", "Cache-Control": "max-age=60, no-transform"}, TEXT),
    ],
)
async def test_what_gains_nothing_or_must_not_be_changed_is_left_alone(
    world: Any, answer: Any, fields: dict[str, str], body: bytes
) -> None:
    world.will(answer(fields={"Cache-Control": "max-age=60", **fields}, body=body))
    await world.ask()
    await world.settled()
    got = await world.ask(fields={"Accept-Encoding": "br, gzip"})
    assert got.body == body
    assert got.fields.get("Content-Encoding") == fields.get("Content-Encoding")


async def test_forms_survive_a_validation(world: Any, answer: Any) -> None:
    world.will(answer(fields=STYLE, body=TEXT), answer(status=304, fields={"ETag": '"1"'}))
    await world.ask("/a.css")
    await world.settled()
    world.clock.advance(61)
    await world.ask("/a.css")
    got = await world.ask("/a.css", {"Accept-Encoding": "br"})
    assert (got.result, got.fields["Content-Encoding"]) == (Result.HIT, "br")


async def test_a_long_body_is_streamed_plain_first_and_compressed_after(
    world: Any, answer: Any
) -> None:
    world.will(answer(fields=STYLE, body=TEXT, announces_length=False))
    first = await world.ask("/a.css", {"Accept-Encoding": "gzip"})
    await world.settled()
    second = await world.ask("/a.css", {"Accept-Encoding": "gzip"})
    assert first.body == TEXT
    assert second.fields["Content-Encoding"] == "gzip"


async def test_head_announces_the_length_of_what_get_would_send(world: Any, answer: Any) -> None:
    world.will(answer(fields=STYLE, body=TEXT))
    await world.ask("/a.css")
    await world.settled()
    wish = {"Accept-Encoding": "br"}
    get, head = await world.ask("/a.css", wish), await world.ask("/a.css", wish, method="HEAD")
    assert (head.length, head.body) == (len(get.body), b"")
    assert head.saved_bytes == 0


@pytest.mark.parametrize(
    ("value", "codings"),
    [
        (None, ()),
        ("", ()),
        ("gzip, deflate, br", ("br", "gzip")),
        ("gzip;q=1, br;q=0.5", ("gzip", "br")),
        ("br;q=0, gzip", ("gzip",)),
        ("*", ("br", "gzip")),
        ("*;q=0, gzip", ("gzip",)),
        ("GZIP", ("gzip",)),
        ("identity", ()),
        ("br;q=nonsense", ()),
    ],
)
def test_accept_encoding_is_read_with_its_weights(
    value: str | None, codings: tuple[str, ...]
) -> None:
    assert accepted_codings(value) == codings
