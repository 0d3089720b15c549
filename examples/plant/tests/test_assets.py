"""The plant as an origin: what its assets say to a cache."""

import re
from collections.abc import AsyncGenerator
from hashlib import sha256

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from plant.assets import asset_files, is_fingerprinted
from plant.routes import create_app
from plant.shift import ShiftSummary

Client = TestClient[web.Request, web.Application]


async def _ready() -> bool:
    return True


async def _no_shift() -> ShiftSummary:
    raise AssertionError


@pytest.fixture
async def client() -> AsyncGenerator[Client]:
    server = TestServer(create_app(ready=_ready, run_shift=_no_shift))
    async with TestClient(server) as made:
        yield made


@pytest.mark.parametrize("name", asset_files())
async def test_every_asset_has_a_type_and_validators(client: Client, name: str) -> None:
    response = await client.get(f"/assets/{name}")
    assert response.status == 200
    assert response.content_type != "application/octet-stream"
    assert response.headers["ETag"]
    assert response.headers["Last-Modified"]
    again = await client.get(
        f"/assets/{name}", headers={"If-None-Match": response.headers["ETag"]}
    )
    assert again.status == 304


async def test_some_assets_state_how_long_they_live_and_some_do_not(client: Client) -> None:
    stated = {
        name: (await client.get(f"/assets/{name}")).headers.get("Cache-Control")
        for name in asset_files()
    }
    assert stated["logo.svg"] is None
    assert stated["index.html"] == "no-cache"
    assert all("immutable" in str(stated[name]) for name in stated if is_fingerprinted(name))


def test_a_fingerprint_is_the_digest_of_the_content_and_the_page_uses_it() -> None:
    files = asset_files()
    page = files["index.html"].read_text()
    fingerprinted = [name for name in files if is_fingerprinted(name)]
    assert len(fingerprinted) == 2
    for name in fingerprinted:
        assert sha256(files[name].read_bytes()).hexdigest().startswith(name.split(".")[1])
        assert name in page


def test_the_page_asks_for_nothing_that_is_not_there() -> None:
    files = asset_files()
    used = re.findall(r'(?:src|href)="([^"]+)"', files["index.html"].read_text())
    assert set(used) <= set(files)


@pytest.mark.parametrize("path", ["/assets/../schema.sql", "/assets/%2e%2e%2fschema.sql"])
async def test_nothing_outside_the_folder_is_served(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 404


async def test_health_follows_the_database(client: Client) -> None:
    assert (await client.get("/healthz")).status == 200
