"""One GET at a time to an HTTP service, repeated within bounds and as late as it asks for."""

import asyncio
import email.utils
import random
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NoReturn

import aiohttp
from yarl import URL

from lineshaft_job_runner.job_data import Endpoint
from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError, SnoozeError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

REPEATABLE = frozenset({408, 425, 429, 500, 502, 503, 504})
WAIT_FIRST_SECONDS = 0.5
WAIT_SECONDS_MAX = 30.0
LOOK_SECONDS = 0.25
"""How often a wait looks whether the job was cancelled."""
SNOOZE_SECONDS_MAX = 86_400.0
SNOOZES_MAX = 20
BODY_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A successful answer."""

    url: str
    body: bytes
    link: str
    """The header Link, or empty."""


class Requester:
    """Sends requests to one service of the sources file."""

    def __init__(
        self,
        http: aiohttp.ClientSession,
        endpoint: Endpoint,
        context: JobContext,
        *,
        source: str,
        attempts_max: int,
        retry_after_seconds_max: float,
    ) -> None:
        self._http = http
        self._endpoint = endpoint
        self._context = context
        self._source = source
        self._attempts_max = attempts_max
        self._retry_after_seconds_max = retry_after_seconds_max

    async def get(self, path: str) -> Answer:
        """Fetch a path and query below the service; raises PermanentError when it refuses.

        Raises RetryableError after the last attempt, and SnoozeError when it asks for more
        patience than the job has.
        """
        url = self._endpoint.resolve(path)
        reason = ""
        for attempt in range(self._attempts_max):
            stop_if_cancelled(self._context)
            wait_seconds = min(WAIT_FIRST_SECONDS * 2**attempt, WAIT_SECONDS_MAX)
            wait_seconds *= random.uniform(0.5, 1)
            try:
                async with self._ask(url) as response:
                    if response.status == 200:
                        return Answer(
                            url=url,
                            body=await self._read(response),
                            link=", ".join(response.headers.getall("Link", [])),
                        )
                    await self._refuse(response)
                    reason = f"it answers {response.status}"
                    asked = retry_after_seconds(response.headers)
                    if asked is not None and asked > self._retry_after_seconds_max:
                        self._snooze(asked)
                    wait_seconds = wait_seconds if asked is None else asked
            except (aiohttp.ClientError, TimeoutError) as error:
                reason = type(error).__name__
            if attempt + 1 < self._attempts_max:
                await self._wait(wait_seconds)
        raise RetryableError(
            "source_unavailable",
            f"data source {self._source!r} gave no answer in {self._attempts_max} attempts, the "
            f"last one: {reason}",
        )

    def _ask(self, url: str) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        # Encoded as the service knows it; and a redirect could lead out of the allowed path.
        return self._http.get(URL(url, encoded=True), allow_redirects=False)

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        body = bytearray()
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > self._endpoint.response_bytes_max:
                raise PermanentError(
                    "source_bytes_limit",
                    f"an answer of data source {self._source!r} has more than "
                    f"{self._endpoint.response_bytes_max} bytes: ask for smaller pages, or raise "
                    "response_bytes_max",
                )
        return bytes(body)

    async def _refuse(self, response: aiohttp.ClientResponse) -> None:
        """Raise unless the same request may be answered later."""
        status = response.status
        if status in REPEATABLE:
            return
        if status in {401, 403}:
            raise PermanentError(
                "source_login_refused",
                f"data source {self._source!r} answers {status}: correct the secret among its "
                "headers in the sources file",
            )
        said = (await response.content.read(BODY_SHOWN)).decode("utf-8", "replace")
        printable = "".join(one if one.isprintable() else " " for one in said)
        raise PermanentError(
            "source_request_refused",
            f"data source {self._source!r} answers {status} to {response.url.path!r}: "
            f"{printable or 'without a word'}",
        )

    async def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            stop_if_cancelled(self._context)
            await asyncio.sleep(min(left, LOOK_SECONDS))

    def _snooze(self, seconds: float) -> NoReturn:
        snoozes = int((self._context.restored or {}).get("snoozes", 0)) + 1
        if snoozes > SNOOZES_MAX:
            raise RetryableError(
                "source_unavailable",
                f"data source {self._source!r} asked {SNOOZES_MAX} times to come back later",
            )
        self._context.checkpoint({"snoozes": snoozes})
        raise SnoozeError(
            min(seconds, SNOOZE_SECONDS_MAX),
            f"data source {self._source!r} asks to come back in {seconds:.0f} s",
        )


@asynccontextmanager
async def connected(endpoint: Endpoint) -> AsyncGenerator[aiohttp.ClientSession]:
    """Open a session with the secrets and limits of a service; it follows no redirects."""
    timeout = aiohttp.ClientTimeout(
        total=endpoint.response_timeout_seconds, sock_connect=endpoint.connect_timeout_seconds
    )
    headers = {"Accept": "application/json", **endpoint.headers}
    async with aiohttp.ClientSession(
        headers=headers, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
    ) as http:
        yield http


def retry_after_seconds(
    headers: Mapping[str, str], *, now: datetime | None = None
) -> float | None:
    """Read Retry-After (RFC 9110 10.2.3): seconds or an HTTP date; None when there is none."""
    value = headers.get("Retry-After", "").strip()
    if value.isascii() and value.isdecimal() and len(value) <= 9:
        return float(value)
    try:
        then = email.utils.parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - (now or datetime.now(UTC))).total_seconds())
