"""The gateway's HTTP API, as the commands use it."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import aiohttp

from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.state import StateFile

TIMEOUT_SECONDS = 15.0
TRIES = 5
WAIT_SECONDS = 1.0


class ApiError(LocalError):
    """The gateway refused or failed; the message is its own."""

    def __init__(self, status: int, body: Any) -> None:
        self.status = status
        self.body = body
        problem = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
        title = problem.get("title") or str(cast("object", body))[:200]
        lines = [
            f"{status} {problem.get('code', '')}: {title}",
            str(problem.get("detail", "")),
            *(f"  {e['pointer']}: {e['message']}" for e in problem.get("errors", ())),
        ]
        super().__init__("\n".join(line for line in lines if line))


class Api:
    """One caller with a key. Reads and repeats of what is idempotent wait out a 429 or 503."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def get(self, path: str, **query: str) -> Any:
        """Read JSON."""
        return (await self._call("GET", path, params=query))[0]

    async def post(self, path: str, body: Any, **headers: str) -> tuple[Any, str]:
        """Send JSON that is safe to repeat; the answer and the trace id of the request."""
        return await self._call("POST", path, json=body, headers=headers)

    async def download(self, path: str) -> bytes:
        """Read a file."""
        async with self._session.get(self.url + path) as response:
            if response.status != 200:
                raise ApiError(response.status, await response.text())
            return await response.read()

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Follow the live stream of events from now on; ends when the connection does."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        async with self._session.get(self.url + "/api/events/stream", timeout=timeout) as response:
            if response.status != 200:
                raise ApiError(response.status, await response.text())
            async for line in response.content:
                if line.startswith(b"data:"):
                    yield json.loads(line[5:])

    async def _call(self, method: str, path: str, **options: Any) -> tuple[Any, str]:
        error: Exception = LocalError("no try was made")
        for attempt in range(1, TRIES + 1):
            try:
                async with self._session.request(method, self.url + path, **options) as response:
                    body = await response.json(content_type=None)
                    if response.status < 400:
                        return body, response.headers.get("X-Request-Id", "")
                    error = ApiError(response.status, body)
                    if response.status not in {429, 503}:
                        raise error
            except (aiohttp.ClientConnectionError, TimeoutError) as failure:
                error = LocalError(f"{self.url} does not answer ({failure}); is it up?")
            if attempt < TRIES:
                await asyncio.sleep(WAIT_SECONDS * attempt)
        raise error


@asynccontextmanager
async def connect(directory: Path) -> AsyncGenerator[Api]:
    """Talk to the system that `lineshaft up` started in a directory, as its administrator."""
    state = StateFile(directory).read()
    if state is None or not state.is_running() or "gateway" not in state.processes:
        raise LocalError("nothing runs here: start it with `make up`")
    url = state.processes["gateway"].url
    key_file = directory / "admin.key"
    if url is None or not key_file.exists():
        raise LocalError(f"the gateway has not written {key_file} yet; see `make logs`")
    headers = {"Authorization": f"Bearer {key_file.read_text(encoding='utf-8').strip()}"}
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    async with aiohttp.ClientSession(headers=headers, timeout=timeout) as session:
        yield Api(session, url)
