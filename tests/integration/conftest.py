"""The whole system, started like a user does, in a directory of its own and with quick reports."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from lineshaft_cli.local import throwaway
from lineshaft_cli.local.state import Phase, ProcessState

ROOT = Path(__file__).parents[2]
PLACE = ROOT / ".lineshaft" / "test"
DEADLINE_SECONDS = 120.0
OWN_SERVERS = ("LINESHAFT_AMQP_URL", "LINESHAFT_POSTGRES_URL")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class System:
    """A running Lineshaft."""

    servers: throwaway.Servers
    key: str

    @property
    def amqp_url(self) -> str:
        """The broker, as its administrator."""
        assert self.servers.endpoints.amqp is not None
        return self.servers.endpoints.amqp

    def process(self, name: str) -> ProcessState:
        """What the supervisor says of a process now."""
        return self.servers.state().processes[name]

    def url(self, name: str) -> str:
        """Where a process listens."""
        url = self.process(name).url
        assert url is not None
        return url

    async def kill(self, name: str) -> None:
        """Kill a process and wait until its supervisor has it ready again."""
        before = self.process(name)
        assert before.id is not None
        os.kill(before.id.pid, signal.SIGKILL)

        async def back() -> bool | None:
            now = self.process(name)
            return (now.restarts > before.restarts and now.phase is Phase.READY) or None

        await eventually(f"{name} is back", back)

    @asynccontextmanager
    async def client(self) -> AsyncGenerator["Client"]:
        """Call the gateway with the administrator's key."""
        headers = {"Authorization": f"Bearer {self.key}"}
        async with aiohttp.ClientSession(
            self.url("gateway"), headers=headers, timeout=aiohttp.ClientTimeout(total=60)
        ) as session:
            yield Client(session)


class Client:
    """The gateway's API."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.session = session

    async def get(self, path: str, **query: str) -> Any:
        """Read JSON."""
        async with self.session.get(path, params=query) as response:
            assert response.status == 200, await response.text()
            return await response.json(content_type=None)

    async def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        """Send JSON; the status and the answer."""
        async with self.session.post(path, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def persistently(self, path: str, body: Any, **headers: str) -> Any:
        """Send JSON as a client that retries what may be retried."""

        async def accepted() -> Any:
            try:
                status, answer = await self.post(path, body, **headers)
            except aiohttp.ClientError:
                return None
            assert status < 500 or status == 503, answer
            return answer if status < 300 else None

        return await eventually(f"{path} accepts it", accepted)

    @staticmethod
    async def eventually(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
        """Ask again until there is an answer."""
        return await eventually(what, look)

    async def job_ends(self, job_id: str) -> Any:
        """Wait until a job has ended."""

        async def ended() -> Any:
            try:
                job = await self.get(f"/api/jobs/{job_id}")
            except (aiohttp.ClientError, AssertionError):
                return None
            return job if job["finished_at"] else None

        return await eventually(f"job {job_id} ends", ended)

    @asynccontextmanager
    async def stream(self, **headers: str) -> AsyncGenerator[AsyncIterator[tuple[str, Any]]]:
        """Follow the live stream: (id, event) by frame."""

        async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[tuple[str, Any]]:
            last_id = ""
            async for line in response.content:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    last_id = value
                elif name == "data":
                    yield last_id, json.loads(value)

        timeout = aiohttp.ClientTimeout(total=DEADLINE_SECONDS)
        async with self.session.get(
            "/api/events/stream", headers=headers, timeout=timeout
        ) as response:
            assert response.status == 200, await response.text()
            yield frames(response)


async def eventually(what: str, look: Callable[[], Awaitable[T | None]]) -> T:
    """Ask again until there is an answer; fails after the deadline with what was waited for."""
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (found := await look()) is None:
                await asyncio.sleep(0.1)
    except TimeoutError:
        pytest.fail(f"waited {DEADLINE_SECONDS:g} s in vain: {what}")
    return found


@pytest.fixture(scope="session")
def system() -> Generator[System]:
    with pytest.MonkeyPatch.context() as environment:
        for name in OWN_SERVERS:
            environment.delenv(name, raising=False)
        environment.setenv("LINESHAFT_METRICS_INTERVAL_SECONDS", "2")
        environment.setenv("LINESHAFT_LEASE_SECONDS", "3")
        with throwaway.servers(PLACE, None) as servers:
            key = (servers.directory / "admin.key").read_text(encoding="utf-8").strip()
            yield System(servers=servers, key=key)
