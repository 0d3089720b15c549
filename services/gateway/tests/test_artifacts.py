import asyncio
from typing import Any

import pytest
from aiohttp import ClientError
from lineshaft_gateway.byte_ranges import select
from lineshaft_gateway.routes import artifacts

from .conftest import MakeWorld, World, problem
from .test_jobs import JOB

CONTENT = bytes(range(256)) * 40
ETAG = f'"{"ab" * 32}"'


async def fetch(world: World, fields: dict[str, str] | None = None, method: str = "GET") -> Any:
    if not world.runner.jobs:
        await world.run_jobs()
    key = world.key()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    world.keep_artifact("rows.csv", CONTENT)
    path = f"/api/jobs/{job['id']}/artifacts/rows.csv"
    return await world.client.request(method, path, headers={**key, **(fields or {})})


async def test_a_whole_artifact_is_sent_for_saving_not_for_showing(world: World) -> None:
    response = await fetch(world)
    assert (response.status, await response.read()) == (200, CONTENT)
    assert response.headers["Content-Type"] == "text/csv"
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["Content-Disposition"] == 'attachment; filename="rows.csv"'
    assert response.headers["ETag"] == ETAG
    assert response.headers["Accept-Ranges"] == "bytes"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in response.headers["Content-Security-Policy"]
    assert "private" in response.headers["Cache-Control"]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=5-9", 5, 10),
        ("bytes=10000-", 10000, 10240),
        ("bytes=-40", 10200, 10240),
        ("bytes=-99999", 0, 10240),
        ("bytes=10-99999", 10, 10240),
    ],
)
async def test_a_part_is_sent(world: World, wanted: str, start: int, end: int) -> None:
    response = await fetch(world, {"Range": wanted})
    assert (response.status, await response.read()) == (206, CONTENT[start:end])
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/{len(CONTENT)}"
    assert response.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("wanted", ["bytes=10240-", "bytes=99999-100000", "bytes=-0"])
async def test_a_part_that_is_not_there_is_a_problem(world: World, wanted: str) -> None:
    response = await fetch(world, {"Range": wanted})
    await problem(response, 416, "range_not_satisfiable")
    assert response.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "wanted", ["bytes=9-5", "bytes=0-1,5-6", "pages=1-2", "bytes=-", "bytes=x-y", "5-9"]
)
async def test_what_is_no_single_range_is_answered_with_the_whole(
    world: World, wanted: str
) -> None:
    response = await fetch(world, {"Range": wanted})
    assert (response.status, await response.read()) == (200, CONTENT)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"If-None-Match": ETAG}, 304),
        ({"If-None-Match": f'"x", W/{ETAG}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"'}, 200),
        ({"If-None-Match": ETAG, "Range": "bytes=0-1"}, 304),
        ({"If-Match": ETAG}, 200),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": f"W/{ETAG}"}, 412),
        ({"If-Range": ETAG, "Range": "bytes=0-1"}, 206),
        ({"If-Range": '"x"', "Range": "bytes=0-1"}, 200),
        ({"If-Range": f"W/{ETAG}", "Range": "bytes=0-1"}, 200),
        ({"If-Range": "Tue, 24 Nov 2026 00:00:00 GMT", "Range": "bytes=0-1"}, 200),
    ],
)
async def test_conditions_are_kept(world: World, fields: dict[str, str], status: int) -> None:
    response = await fetch(world, fields)
    assert response.status == status
    assert response.headers["ETag"] == ETAG
    if status == 304:
        assert await response.read() == b""


async def test_head_says_what_get_would_send(world: World) -> None:
    response = await fetch(world, {"Range": "bytes=0-1"}, method="HEAD")
    assert (response.status, await response.read()) == (200, b"")
    assert response.headers["Content-Length"] == str(len(CONTENT))
    assert response.headers["ETag"] == ETAG


async def test_an_empty_artifact_is_sent(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    world.keep_artifact("empty.csv", b"")
    path = f"/api/jobs/{job['id']}/artifacts/empty.csv"
    response = await world.client.get(path, headers=key)
    assert (response.status, await response.read()) == (200, b"")
    ranged = await world.client.get(path, headers={**key, "Range": "bytes=0-"})
    await problem(ranged, 416, "range_not_satisfiable")


async def test_an_artifact_whose_content_was_deleted_is_gone(world: World) -> None:
    await world.run_jobs()
    key = world.key()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    world.keep_artifact("rows.csv", CONTENT)
    (world.objects / "artifacts" / "rows.csv").unlink()
    at = f"/api/jobs/{job['id']}/artifacts"
    await problem(await world.client.get(f"{at}/rows.csv", headers=key), 410, "artifact_gone")
    missing = await world.client.get(f"{at}/other.csv", headers=key)
    await problem(missing, 404, "artifact_not_found")


async def test_a_content_shorter_than_promised_breaks_the_connection(world: World) -> None:
    """A client must never take a part for the whole."""
    await world.run_jobs()
    key = world.key()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    world.keep_artifact("rows.csv", CONTENT)
    (world.objects / "artifacts" / "rows.csv").write_bytes(CONTENT[:100])
    path = f"/api/jobs/{job['id']}/artifacts/rows.csv"
    with pytest.raises(Exception) as raised:  # noqa: PT011 - by the HTTP client's choice.
        await (await world.client.get(path, headers=key)).read()
    assert "AssertionError" not in type(raised.value).__name__


async def large_artifact(world: World) -> tuple[str, dict[str, str]]:
    """Keep one that no socket's buffers can take whole."""
    await world.run_jobs()
    key = world.key()
    job = await (await world.client.post("/api/jobs", json=JOB, headers=key)).json()
    world.keep_artifact("rows.csv", bytes(24 * 1024 * 1024))
    return f"/api/jobs/{job['id']}/artifacts/rows.csv", key


async def test_a_large_artifact_comes_whole_over_the_borders_of_its_parts(world: World) -> None:
    path, key = await large_artifact(world)
    content = bytes(range(256)) * 12 * 1024
    world.keep_artifact("rows.csv", content)
    fields = {**key, "Range": f"bytes=1-{len(content) - 2}"}
    response = await world.client.get(path, headers=fields)
    assert (response.status, await response.read()) == (206, content[1:-1])


async def test_a_tenants_downloads_are_limited(make_world: MakeWorld) -> None:
    async with make_world(downloads_per_tenant_max=1) as world:
        path, key = await large_artifact(world)
        async with world.client.get(path, headers=key) as first:
            assert first.status == 200
            second = await world.client.get(path, headers=key)
            await problem(second, 429, "too_many_downloads")
            await first.read()
        async with asyncio.timeout(30):
            while (await world.client.get(path, headers=key)).status != 200:
                await asyncio.sleep(0.02)


async def test_a_download_that_nobody_reads_is_cut(
    make_world: MakeWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "WRITE_SECONDS_MAX", 0.2)
    async with make_world(downloads_per_tenant_max=1) as world:
        path, key = await large_artifact(world)
        async with world.client.get(path, headers=key) as stuck:
            async with asyncio.timeout(30):
                while (
                    await world.client.get(path, headers={**key, "Range": "bytes=0-0"})
                ).status != 206:
                    await asyncio.sleep(0.02)
            with pytest.raises(ClientError):
                await stuck.read()


def test_a_selection_never_leaves_the_file() -> None:
    for size in (0, 1, 10):
        for first in ("", "0", "5", "10", "99"):
            for last in ("", "0", "5", "10", "99"):
                chosen = select(
                    {"Range": f"bytes={first}-{last}"}, method="GET", size=size, etag='"e"'
                )
                assert 0 <= chosen.start <= chosen.end <= size
                assert (chosen.status == 206) == (
                    chosen.end > chosen.start and chosen.status != 200
                )
