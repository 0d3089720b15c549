"""Sends one request until it has an answer that counts."""

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import aiohttp
from lineshaft_contracts.batches import ServiceCalls
from yarl import URL

from lineshaft_job_runner.job_data import Endpoint
from lineshaft_job_runner.job_type import RetryableError
from lineshaft_job_runner.types.batching.outcomes import MESSAGE_CHARACTERS_MAX, Failure
from lineshaft_job_runner.types.batching.pacing import Pace, back_off, retry_after

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
SILENT_ITEMS_MAX = 5
"""After so many items in a row without any answer the service is taken for down."""
EXCERPT_BYTES = 2_048


@dataclass(frozen=True, kw_only=True)
class Call:
    """A request for one item."""

    url: str
    body: bytes
    key: str
    """Idempotency-Key: the same for each try, in every attempt."""


class Requests:
    """A client of one service; follows no redirect, for it could lead anywhere."""

    def __init__(self, endpoint: Endpoint, work: ServiceCalls, pace: Pace) -> None:
        self._endpoint = endpoint
        self._work = work
        self._pace = pace
        self._silent = 0
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        """Open the client."""
        endpoint = self._endpoint
        self._session = aiohttp.ClientSession(
            headers={"User-Agent": "lineshaft-job-runner", **endpoint.headers},
            timeout=aiohttp.ClientTimeout(
                total=endpoint.response_timeout_seconds,
                sock_connect=endpoint.connect_timeout_seconds,
            ),
            connector=aiohttp.TCPConnector(limit=self._work.concurrency),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client with all connections."""
        if self._session is not None:
            await self._session.close()

    async def send(self, call: Call) -> tuple[int | None, Failure | None]:
        """Return the last status, and why it failed; None twice is no outcome.

        Raises RetryableError when the service does not answer several items in a row.
        """
        status, failure = None, Failure("http_unavailable", "it was not sent")
        for tried in range(1, self._work.attempts_max + 1):
            await self._pace.turn()
            try:
                status, wait, said = await self._try(call)
            except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError) as error:
                status, wait = None, back_off(tried)
                failure = Failure("http_unavailable", f"no answer: {type(error).__name__}")
            else:
                self._silent = 0
                if 200 <= status < 300:
                    return status, None
                failure = Failure("http_refused", f"HTTP {status} {said}"[:MESSAGE_CHARACTERS_MAX])
                if status not in AGAIN:
                    return status, failure
                if wait is not None:
                    self._pace.hold(wait)
                wait = back_off(tried) if wait is None else wait
            if tried < self._work.attempts_max:
                await self._pace.pause(wait)
        self._count_silence(status)
        return status, failure

    async def _try(self, call: Call) -> tuple[int, float | None, str]:
        """Send once; returns the status, how long to wait if asked to, and what was said."""
        if self._session is None:
            raise RuntimeError("the client is not open")
        headers = {"Idempotency-Key": call.key}
        if call.body:
            headers["Content-Type"] = "application/json"
        async with self._session.request(
            self._work.method,
            URL(call.url, encoded=True),
            data=call.body or None,
            headers=headers,
            allow_redirects=False,
        ) as response:
            # What is not read costs the connection: most answers are read to their end by this.
            excerpt = await response.content.read(EXCERPT_BYTES)
            said = " ".join(excerpt.decode("utf-8", "replace").replace("\0", "").split())
            return response.status, retry_after(response.headers.get("Retry-After")), said

    def _count_silence(self, status: int | None) -> None:
        self._silent = 0 if status is not None else self._silent + 1
        if self._silent >= SILENT_ITEMS_MAX:
            raise RetryableError(
                "service_unavailable",
                f"the service did not answer {self._silent} items in a row, each tried "
                f"{self._work.attempts_max} times",
            )
