"""How an application publishes plant events: batches over HTTP, repeated until they are safe."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp

BATCH = "application/cloudevents-batch+json"
EVENTS_MAX = 100
ATTEMPTS_MAX = 10
WAIT_SECONDS_MAX = 30.0
REPEATABLE = frozenset({429, 502, 503, 504})


class PublishingError(Exception):
    """Lineshaft did not take the events; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Publishes through the gateway; events keep their ids, so a repeat doubles nothing."""

    http: aiohttp.ClientSession
    gateway_url: str
    api_key: str

    async def publish(self, events: Sequence[dict[str, Any]]) -> None:
        """Publish CloudEvents in their order; raises PublishingError when one is not taken."""
        for first in range(0, len(events), EVENTS_MAX):
            await self._publish_batch(events[first : first + EVENTS_MAX])

    async def _publish_batch(self, events: Sequence[dict[str, Any]]) -> None:
        reason = ""
        for attempt in range(ATTEMPTS_MAX):
            wait_seconds = min(0.2 * 2**attempt, WAIT_SECONDS_MAX)
            try:
                async with self.http.post(
                    f"{self.gateway_url}/api/events",
                    json=events,
                    headers={"Authorization": f"Bearer {self.api_key}", "Content-Type": BATCH},
                    timeout=aiohttp.ClientTimeout(total=30),
                ) as response:
                    if response.ok:
                        return
                    reason = f"{response.status} {(await response.text())[:1000]}"
                    if response.status not in REPEATABLE:
                        raise PublishingError(reason)
                    wait_seconds = _retry_after(response, wait_seconds)
            except (aiohttp.ClientError, TimeoutError) as error:
                # Perhaps they were taken and only the answer was lost: the same ids again.
                reason = f"{type(error).__name__}: {error}"
            await asyncio.sleep(wait_seconds)
        raise PublishingError(f"gave up after {ATTEMPTS_MAX} attempts: {reason}")


def _retry_after(response: aiohttp.ClientResponse, otherwise: float) -> float:
    asked = response.headers.get("Retry-After", "")
    return min(float(asked), WAIT_SECONDS_MAX) if asked.isdecimal() else otherwise
