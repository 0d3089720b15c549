"""The whole edge over real sockets, with a real origin behind it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp
import pytest
from aiohttp import web
from lineshaft_cdn_edge.assembly import Station, assemble
from lineshaft_cdn_edge.routes import create_app
from lineshaft_cdn_edge.settings import EdgeSettings
from lineshaft_common import http
from lineshaft_common.health import Health

FRESH = {"Cache-Control": "max-age=60"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Origin:
    """A server whose handler the test gives; knows the targets that it was asked for."""

    handler: Handler
    targets: list[str] = field(default_factory=list[str])
    headers: list[dict[str, str]] = field(default_factory=list[dict[str, str]])

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.targets.append(request.raw_path)
        self.headers.append(dict(request.headers))
        return await self.handler(request)


@dataclass
class Site:
    """An edge and its origin, both listening."""

    origin: Origin
    station: Station
    url: str
    port: int
    client: aiohttp.ClientSession

    def will(self, handler: Handler) -> None:
        self.origin.handler = handler

    async def raw(self, data: bytes) -> bytes:
        """Send bytes as they are and read until the edge closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(data)
        async with asyncio.timeout(30):
            answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer


async def _text(request: web.Request) -> web.Response:
    return web.Response(text=f"you asked for {request.raw_path}", headers=FRESH)


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    origin = Origin(_text)
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", origin.handle)
    async with http.serve(app, host="127.0.0.1", port=0) as origin_port:
        settings = EdgeSettings.model_validate(
            {
                "amqp_url": "amqp://localhost",
                "region": "test",
                "origin_url": f"http://127.0.0.1:{origin_port}",
                "object_bytes_max": 1_000_000,
                "upload_bytes_max": 100_000,
                "upload_idle_timeout_seconds": 0.2,
                "origin_head_timeout_seconds": 0.5,
                "origin_connections_max": 4,
                "origin_acquire_timeout_seconds": 5,
            }
        )
        async with (
            assemble(settings) as station,
            http.serve(create_app(station, Health()), host="127.0.0.1", port=0) as port,
            aiohttp.ClientSession(auto_decompress=False) as client,
        ):
            yield Site(origin, station, f"http://127.0.0.1:{port}", port, client)


async def test_an_asset_is_fetched_once_and_served_twice(site: Site) -> None:
    for status in ("fwd=uri-miss", "hit"):
        async with site.client.get(f"{site.url}/a/../b?x=%41") as response:
            assert response.status == 200
            assert await response.text() == "you asked for /b?x=A"
            assert status in response.headers["Cache-Status"]
            assert response.headers["Server"]
    assert site.origin.targets == ["/b?x=A"]


async def test_what_is_sent_is_counted_to_the_byte(site: Site) -> None:
    async def styles(_: web.Request) -> web.Response:
        return web.Response(body=b"a { b: c } " * 500, headers=FRESH, content_type="text/css")

    site.will(styles)
    sent = 0
    for _ in range(3):
        async with site.client.get(f"{site.url}/a.css", headers={"Accept-Encoding": "br"}) as got:
            sent += len(await got.read())
            assert got.headers["Content-Encoding"] == "br"
    (style,) = site.station.traffic.snapshot().classes
    assert style.asset_class == "style"
    assert style.client_bytes == sent
    assert style.saved_bytes == 3 * 5_500 - sent
    assert style.origin_bytes == 5_500
    assert style.results == {"miss": 1, "hit": 2}


async def test_a_long_stream_passes_through_whole(site: Site) -> None:
    async def long(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers=FRESH)
        await stream.prepare(request)
        for _ in range(50):
            await stream.write(b"x" * 100_000)
        return stream

    site.will(long)
    for _ in range(2):
        async with site.client.get(f"{site.url}/long") as response:
            assert len(await response.read()) == 5_000_000
    assert len(site.station.store) == 0


async def test_a_truncated_body_is_truncated_for_the_client_too(site: Site) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers=FRESH)
        stream.content_length = 1_000
        await stream.prepare(request)
        await stream.write(b"x" * 10)
        assert request.transport
        request.transport.close()
        return stream

    site.will(cut)
    with pytest.raises(aiohttp.ClientError):
        async with site.client.get(f"{site.url}/cut") as response:
            await response.read()
    assert len(site.station.store) == 0


async def test_a_silent_origin_is_a_504_and_a_missing_one_a_502(site: Site) -> None:
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        await asked.wait()
        return web.Response()

    site.will(silent)
    async with site.client.get(f"{site.url}/a") as response:
        assert response.status == 504
        assert (await response.json(content_type=None))["code"] == "origin_timeout"
    asked.set()
    errors = site.station.traffic.snapshot()
    assert (errors.origin_errors, errors.origin_is_reachable) == ({"timeout": 1}, False)


async def test_many_clients_do_not_open_many_connections_to_the_origin(site: Site) -> None:
    running, most = 0, 0

    async def slow(_: web.Request) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return web.Response(headers={"Cache-Control": "private"})

    site.will(slow)

    async def get(number: int) -> int:
        async with site.client.get(f"{site.url}/{number}") as response:
            return response.status

    assert set(await asyncio.gather(*map(get, range(40)))) == {200}
    assert most <= 4


async def test_other_methods_pass_with_their_body(site: Site) -> None:
    async def echo(request: web.Request) -> web.Response:
        return web.Response(body=request.method.encode() + b" " + await request.read())

    site.will(echo)
    async with site.client.post(f"{site.url}/form", data=b"x" * 50_000) as response:
        assert await response.read() == b"POST " + b"x" * 50_000
    async with site.client.put(f"{site.url}/form", data=_chunks(3)) as response:
        assert await response.read() == b"PUT " + b"y" * 3_000


async def _chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b"y" * 1_000


async def test_an_upload_has_a_limit_announced_or_not(site: Site) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    site.will(read)
    async with site.client.post(f"{site.url}/form", data=b"x" * 100_001) as response:
        assert response.status == 413
    async with site.client.post(f"{site.url}/form", data=_chunks(101)) as response:
        assert response.status == 413


async def test_redirects_are_passed_on_and_not_followed(site: Site) -> None:
    async def move(_: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/elsewhere", **FRESH})

    site.will(move)
    for _ in range(2):
        async with site.client.get(f"{site.url}/a", allow_redirects=False) as response:
            assert (response.status, response.headers["Location"]) == (302, "/elsewhere")
    assert len(site.origin.targets) == 1


async def test_an_absolute_target_is_the_same_resource_on_the_wire(site: Site) -> None:
    for target in (b"/a", b"http://other.example/a"):
        got = await site.raw(
            b"GET " + target + b" HTTP/1.1\r\nHost: edge.example\r\nConnection: close\r\n\r\n"
        )
        assert got.startswith(b"HTTP/1.1 200")
    assert site.origin.targets == ["/a"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length : 1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n",
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 20_000 + b"\r\n\r\n",
    ],
)
async def test_a_request_that_could_be_read_in_two_ways_is_refused(
    site: Site, data: bytes
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(data)
    writer.write_eof()
    async with asyncio.timeout(30):
        answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4"))
    assert site.origin.targets == []


async def test_a_client_that_leaves_harms_nobody(site: Site) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        asked.set()
        stream = web.StreamResponse(headers=FRESH)
        await stream.prepare(request)
        await stream.write(b"x" * 1_000)
        await release.wait()
        await stream.write(b"x" * 1_000)
        return stream

    site.will(slow)
    _, writer = await asyncio.open_connection("127.0.0.1", site.port)
    writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n")
    async with asyncio.timeout(30):
        await asked.wait()
    writer.transport.abort()
    release.set()
    async with site.client.get(f"{site.url}/a") as response:
        assert len(await response.read()) == 2_000
    assert len(site.origin.targets) == 1


async def test_health_and_metrics_are_served_beside_the_assets(site: Site) -> None:
    await (await site.client.get(f"{site.url}/a")).read()
    assert (await site.client.get(f"{site.url}/healthz")).status == 200
    assert (await site.client.get(f"{site.url}/readyz")).status == 200
    async with site.client.get(f"{site.url}/metrics") as response:
        text = await response.text()
    assert 'lineshaft_edge_requests_total{asset_class="document"' in text
    assert 'lineshaft_edge_store_responses{region="test"} 1.0' in text
    assert site.origin.targets == ["/a"]


async def test_an_unsafe_request_never_meets_a_connection_that_died_idle(site: Site) -> None:
    """Each request closes its connection behind the edge's back, right after the answer."""

    async def hang_up(request: web.Request) -> web.Response:
        await request.read()
        response = web.Response(text="done")
        response.force_close()
        response.headers["Connection"] = "keep-alive"
        return response

    site.will(hang_up)
    for _ in range(5):
        async with site.client.post(f"{site.url}/form", data=b"x") as response:
            assert response.status == 200
        async with site.client.get(f"{site.url}/asset") as response:
            assert response.status == 200


async def test_a_long_stored_body_is_sent_whole(site: Site) -> None:
    async def long(_: web.Request) -> web.Response:
        return web.Response(body=bytes(range(256)) * 3_900, headers=FRESH)

    site.will(long)
    for _ in range(2):
        async with site.client.get(f"{site.url}/long") as response:
            assert await response.read() == bytes(range(256)) * 3_900
            assert response.headers["Content-Length"] == "998400"
    assert len(site.origin.targets) == 1


async def _hold(site: Site, target: str, count: int) -> list[asyncio.StreamWriter]:
    """Ask, and read nothing of the answers."""
    held: list[asyncio.StreamWriter] = []
    for number in range(count):
        _, writer = await asyncio.open_connection("127.0.0.1", site.port, limit=1)
        writer.write(f"GET {target}/{number} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        held.append(writer)
    return held


async def test_clients_that_read_nothing_do_not_stop_the_filling_of_the_cache(site: Site) -> None:
    """More of them than there are connections to the origin."""

    async def endless(request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/asset"):
            return await _text(request)
        stream = web.StreamResponse(headers={"Cache-Control": "private"})
        await stream.prepare(request)
        while True:
            await stream.write(b"x" * 1_000_000)

    site.will(endless)
    held = await _hold(site, "/private", 12)
    async with asyncio.timeout(30):
        while len(site.origin.targets) < 2:
            await asyncio.sleep(0.01)
    async with site.client.get(f"{site.url}/asset") as response:
        assert response.status == 200
    for writer in held:
        writer.transport.abort()


async def test_uploads_that_stand_still_are_ended_and_stop_no_fill(site: Site) -> None:
    async def read(request: web.Request) -> web.Response:
        if request.method == "POST":
            await request.read()
        return await _text(request)

    site.will(read)
    head = b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nx"
    stuck = [await asyncio.open_connection("127.0.0.1", site.port) for _ in range(4)]
    for _, writer in stuck:
        writer.write(head)
    async with asyncio.timeout(30):
        while not site.origin.targets:
            await asyncio.sleep(0.01)
    async with site.client.get(f"{site.url}/asset") as response:
        assert response.status == 200
    for reader, writer in stuck:
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408")
        writer.close()
        await writer.wait_closed()
