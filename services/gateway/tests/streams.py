"""Live streams as a client sees them, and the log that they follow."""

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.topology import PLATFORM_LOG

from .conftest import World

TYPE = "plant.resource.state-changed.v1"
EPOCH = "0000aaaa"


async def append(bus: MemoryBus, *numbers: int, tenant: str = "acme", **given: str) -> None:
    """Append one event per number to the log."""
    for number in numbers:
        event: dict[str, Any] = {
            "specversion": "1.0",
            "id": f"e{number}",
            "source": f"/{tenant}/hamburg",
            "type": TYPE,
            "time": "2026-11-25T00:00:00Z",
            "tenant": tenant,
            "data": {"number": number},
            **given,
        }
        (error,) = await bus.publish_many(
            [
                Outgoing(
                    exchange=PLATFORM_LOG.name,
                    routing_key="any",
                    type=event["type"],
                    message_id=event["id"],
                    body=json.dumps(event).encode(),
                    headers={
                        name: event[name] for name in ("tenant", "traceparent") if name in event
                    },
                )
            ]
        )
        assert error is None


async def seen(world: World, head: int) -> None:
    """Wait until the gateway has read the log up to an offset."""
    async with asyncio.timeout(30):
        while world.live.ring.head < head:
            await asyncio.sleep(0.005)


@dataclass
class Event:
    id: str | None
    name: str
    data: dict[str, Any]


class Stream:
    """Reads server-sent events off a response."""

    def __init__(self, response: Any) -> None:
        self.response = response
        self.comments = 0

    async def next(self) -> Event | None:
        """Return the next event; None at the end."""
        fields: dict[str, str] = {}
        async with asyncio.timeout(30):
            async for raw in self.response.content:
                line = raw.decode().rstrip("\n")
                if line.startswith(":"):
                    self.comments += 1
                elif line:
                    name, _, value = line.partition(": ")
                    fields[name] = value
                elif "event" in fields:
                    return Event(fields.get("id"), fields["event"], json.loads(fields["data"]))
        return None

    async def numbers(self, count: int) -> list[int]:
        """Read so many events and give their numbers."""
        found: list[int] = []
        for _ in range(count):
            event = await self.next()
            assert event is not None
            found.append(event.data["data"]["number"])
        return found


@asynccontextmanager
async def stream(
    world: World,
    query: str = "",
    *,
    key: dict[str, str] | None = None,
    last: str | None = None,
) -> AsyncGenerator[Stream]:
    headers = key or world.key()
    if last is not None:
        headers = {**headers, "Last-Event-ID": last}
    async with world.client.get(f"/api/events/stream?{query}", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["X-Accel-Buffering"] == "no"
        assert response.headers["X-Request-Id"]
        yield Stream(response)
