"""Posts events to receivers, signed by Standard Webhooks."""

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Self

import aiohttp
from lineshaft_contracts.subscriptions import ProtocolSettings
from yarl import URL

from lineshaft_event_router.subscriptions.addresses import AddressGuard, GuardedResolver
from lineshaft_event_router.subscriptions.records import LogEvent, Outcome, Stored, Verdict
from lineshaft_event_router.subscriptions.retrying import retry_after_seconds
from lineshaft_event_router.subscriptions.signing import key_of, signatures

CONNECT_SECONDS = 5.0
ANSWER_BYTES_MAX = 16_384
"""More of an answer is not read; the connection is then closed."""
DETAIL_LENGTH_MAX = 200
GONE = 410


class WebhookClient:
    """One pool of connections for all receivers; who waits for one keeps no other waiting."""

    def __init__(self, guard: AddressGuard) -> None:
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        connector = aiohttp.TCPConnector(
            resolver=GuardedResolver(self._guard),
            use_dns_cache=False,
            limit=0,  # Each subscription has a bound of its own.
            keepalive_timeout=15,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            auto_decompress=False,
            skip_auto_headers=("User-Agent",),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def post(
        self, url: URL, body: bytes, headers: Mapping[str, str], *, timeout_seconds: float
    ) -> Outcome:
        """Post once; every way to fail is an outcome."""
        started = time.perf_counter()
        try:
            self._guard.check_url(url)
            async with asyncio.timeout(timeout_seconds):
                outcome = await self._post(url, body, headers)
        except TimeoutError:
            outcome = failed(f"no answer within {timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            outcome = failed(_reason(error))
        return Outcome(
            verdict=outcome.verdict,
            status=outcome.status,
            detail=outcome.detail,
            retry_after_seconds=outcome.retry_after_seconds,
            milliseconds=round((time.perf_counter() - started) * 1000, 1),
        )

    async def _post(self, url: URL, body: bytes, headers: Mapping[str, str]) -> Outcome:
        if self._session is None:
            raise RuntimeError("the client is not open")
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
        async with self._session.post(
            url, data=body, headers=headers, allow_redirects=False, timeout=timeout
        ) as response:
            content = await response.content.read(ANSWER_BYTES_MAX)
            if not response.content.at_eof():
                response.close()
            return _judge(response.status, response.headers.get("Retry-After"), content)


def _judge(status: int, retry_after: str | None, content: bytes) -> Outcome:
    if 200 <= status < 300:
        return Outcome(verdict=Verdict.DELIVERED, status=status)
    if status == GONE:
        return Outcome(verdict=Verdict.GONE, status=status, detail="the receiver is gone for good")
    detail = "redirects are not followed" if 300 <= status < 400 else printable(content)
    return Outcome(
        verdict=Verdict.FAILED,
        status=status,
        detail=detail,
        retry_after_seconds=retry_after_seconds(retry_after, datetime.now(UTC)),
    )


def printable(content: bytes) -> str:
    """Keep the beginning of an answer as text that may be shown and stored anywhere."""
    text = content[:DETAIL_LENGTH_MAX].decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def failed(detail: str) -> Outcome:
    """Say why there was no answer."""
    return Outcome(verdict=Verdict.FAILED, detail=detail)


def _reason(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return printable(f"{type(cause).__name__}: {cause}".encode())


class WebhookSink:
    """The receiver of one subscription."""

    def __init__(self, stored: Stored, client: WebhookClient) -> None:
        self._url = URL(stored.subscription.sink or "")
        self._settings: ProtocolSettings = stored.subscription.protocolsettings
        self._keys = tuple(key_of(secret) for secret in stored.secrets)
        self._client = client

    async def send(self, event: LogEvent) -> Outcome:
        """Post an event, signed with every secret."""
        timestamp = int(time.time())
        headers = {
            **self._settings.headers,
            "content-type": "application/cloudevents+json",
            "user-agent": "Lineshaft-Webhooks/1.0",
            "webhook-id": event.message_id,
            "webhook-timestamp": str(timestamp),
            "webhook-signature": signatures(self._keys, event.message_id, timestamp, event.body),
        }
        if event.traceparent is not None:
            headers["traceparent"] = event.traceparent
            if event.tracestate is not None:
                headers["tracestate"] = event.tracestate
        return await self._client.post(
            self._url, event.body, headers, timeout_seconds=self._settings.timeout_seconds
        )
