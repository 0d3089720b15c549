"""Publishing against a door over HTTP that is busy, loses an answer, or says no."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientConnectionError, ClientSession, web
from lineshaft_contracts.door import parse_batch, validate_plant_event
from plant.calendar import SHIFT, Shift
from plant.publishing import Publisher, PublishingError
from plant.settings import Settings
from plant.shift import run_shift
from plant.simulation import simulate

START = datetime(2026, 11, 24, 6, tzinfo=UTC)
WHOLE = Shift(START, START + SHIFT)


@dataclass
class Door:
    """Takes events as the gateway does; `answers` are given first, then 202."""

    url: str = ""
    answers: list[int] = field(default_factory=list[int])
    accepted: dict[str, str] = field(default_factory=dict[str, str])
    requests: int = 0
    keys: set[str] = field(default_factory=set[str])

    async def take(self, request: web.Request) -> web.Response:
        self.requests += 1
        self.keys.add(request.headers["Authorization"])
        assert request.content_type == "application/cloudevents-batch+json"
        if self.answers:
            status = self.answers.pop(0)
            return web.json_response({}, status=status, headers={"Retry-After": "0"})
        for body in parse_batch(await request.read()):
            event = validate_plant_event(body)
            self.accepted[event.id] = event.type
        return web.json_response({}, status=202)


@pytest.fixture
async def door() -> AsyncGenerator[Door]:
    made = Door()
    app = web.Application(client_max_size=8 * 1024**2)
    app.router.add_post("/api/events", made.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    made.url = f"http://{host}:{port}"
    yield made
    await runner.cleanup()


class Books:
    """One shift, as long as it is not published."""

    def __init__(self) -> None:
        self.booked = False
        self.published = False

    async def open_shift(self, _now: datetime, /) -> Shift:
        return WHOLE

    async def book(self, _shift: Shift, _events: list[Any], /) -> bool:
        self.booked, before = True, self.booked
        return not before

    async def mark_published(self, _shift: Shift, /) -> None:
        self.published = True


def settings(door: Door, tmp_path: Path) -> Settings:
    key = tmp_path / "plant.key"
    key.write_text("lsk_abc_def\n")
    return Settings(postgres_url="", http_port=0, gateway_url=door.url, api_key_file=key)


async def test_a_shift_arrives_completely_with_the_key_of_the_file(
    door: Door, tmp_path: Path
) -> None:
    books = Books()
    done = await run_shift(settings(door, tmp_path), books, breakdown_seconds=0)
    assert tuple(door.accepted) == done.event_ids
    assert done.events == sum(done.counts.values()) >= 500
    assert done.booked
    assert books.published
    assert door.keys == {"Bearer lsk_abc_def"}
    assert json.loads(json.dumps(done.counts)) == done.counts


async def test_an_interrupted_shift_is_published_again_and_nothing_is_doubled(
    door: Door, tmp_path: Path
) -> None:
    books = Books()
    mine = settings(door, tmp_path)
    door.answers = [202, 400]
    with pytest.raises(PublishingError, match="400"):
        await run_shift(mine, books, breakdown_seconds=0)
    assert not books.published
    await run_shift(mine, books, breakdown_seconds=0)
    again = await run_shift(mine, books, breakdown_seconds=0)
    assert tuple(door.accepted) == again.event_ids
    assert books.published
    assert not again.booked


async def test_a_busy_or_absent_gateway_is_asked_again_with_the_same_ids(door: Door) -> None:
    door.answers = [429, 503]
    event = simulate(WHOLE)[0].to_cloudevent(tenant="acme")
    async with ClientSession() as http:
        await Publisher(http=http, gateway_url=door.url, api_key="k").publish([event])
    assert door.requests == 3
    assert list(door.accepted) == [event["id"]]


async def test_a_refused_event_is_an_error_at_once(door: Door) -> None:
    door.answers = [422]
    event = simulate(WHOLE)[0].to_cloudevent(tenant="acme")
    async with ClientSession() as http:
        with pytest.raises(PublishingError, match="422"):
            await Publisher(http=http, gateway_url=door.url, api_key="k").publish([event])
    assert door.requests == 1


def test_the_shift_of_another_start_has_other_ids() -> None:
    ids = {event.to_cloudevent(tenant="acme")["id"] for event in simulate(WHOLE)}
    later = simulate(Shift(WHOLE.end, WHOLE.end + SHIFT))
    assert ids.isdisjoint(event.to_cloudevent(tenant="acme")["id"] for event in later)


@pytest.mark.integration
async def test_the_process_seeds_itself_serves_its_assets_and_publishes_a_shift(
    door: Door, tmp_path: Path, postgres_url: str, unused_tcp_port: int
) -> None:
    mine = settings(door, tmp_path)
    url = f"http://127.0.0.1:{unused_tcp_port}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "plant",
        env={
            **os.environ,
            "PLANT_POSTGRES_URL": postgres_url,
            "PLANT_HTTP_PORT": str(unused_tcp_port),
            "PLANT_GATEWAY_URL": door.url,
            "PLANT_API_KEY_FILE": str(mine.api_key_file),
        },
    )
    try:
        async with asyncio.timeout(60), ClientSession() as http:
            while not await _healthy(http, url):
                await asyncio.sleep(0.1)
            page = await (await http.get(f"{url}/")).text()
            assert "Plant North" in page
            done = await (await http.post(f"{url}/shift")).json()
        assert list(door.accepted) == done["event_ids"]
    finally:
        process.terminate()
        assert await process.wait() == 0


async def _healthy(http: ClientSession, url: str) -> bool:
    try:
        return (await http.get(f"{url}/healthz")).status == 200
    except ClientConnectionError:
        return False
