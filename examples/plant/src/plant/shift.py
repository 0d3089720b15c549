"""Run one simulated shift: write it into the MES and publish its events.

`python -m plant.shift` runs the shift that ends now.
"""

import argparse
import asyncio
import json
import sys
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import aiohttp

from plant.calendar import Shift
from plant.event import PlantEvent
from plant.publishing import Publisher
from plant.settings import Settings
from plant.simulation import simulate
from plant.store import connect


@dataclass(frozen=True, kw_only=True)
class ShiftSummary:
    """What a shift published."""

    started_at: str
    finished_at: str
    """ISO 8601; the parameters shift_start and shift_end of the saved queries."""
    events: int
    counts: dict[str, int]
    """Events by type."""
    event_ids: tuple[str, ...]
    """In the order in which they were published."""
    booked: bool
    """False when the shift was in the tables already, and was only published again."""


class Books(Protocol):
    """Where the shift is written to."""

    async def open_shift(self, now: datetime, /) -> Shift:
        """Return the shift to publish."""
        ...

    async def book(self, shift: Shift, events: list[PlantEvent], /) -> bool:
        """Write a shift once."""
        ...

    async def mark_published(self, shift: Shift, /) -> None:
        """Remember that it is done with."""
        ...


async def run_shift(
    settings: Settings, books: Books, *, breakdown_seconds: float = 2
) -> ShiftSummary:
    """Simulate the shift that ends now, write it into the tables, publish its events.

    `breakdown_seconds` is how long the press really stays down between two batches, so that
    whoever watches sees it. A shift whose publishing was interrupted is published again first,
    under the same ids.
    """
    shift = await books.open_shift(datetime.now(UTC))
    events = simulate(shift)
    booked = await books.book(shift, events)
    messages = [event.to_cloudevent(tenant=settings.tenant) for event in events]
    repair = 1 + next(index for index, event in enumerate(events) if _is_breakdown(event))
    async with aiohttp.ClientSession() as http:
        key = settings.api_key_file.read_text(encoding="utf-8").strip()
        publisher = Publisher(http=http, gateway_url=settings.gateway_url, api_key=key)
        await publisher.publish(messages[:repair])
        await asyncio.sleep(breakdown_seconds)
        await publisher.publish(messages[repair:])
    await books.mark_published(shift)
    return _summary(shift, messages, booked=booked)


def _is_breakdown(event: PlantEvent) -> bool:
    return event.type == "resource.state-changed" and event.data["state"] == "down"


def _summary(shift: Shift, messages: list[dict[str, Any]], *, booked: bool) -> ShiftSummary:
    return ShiftSummary(
        started_at=shift.start.isoformat(),
        finished_at=shift.end.isoformat(),
        events=len(messages),
        counts=dict(sorted(Counter(message["type"] for message in messages).items())),
        event_ids=tuple(message["id"] for message in messages),
        booked=booked,
    )


async def _main(breakdown_seconds: float) -> None:
    settings = Settings.read()
    async with connect(settings.postgres_url) as store:
        done = await run_shift(settings, store, breakdown_seconds=breakdown_seconds)
    sys.stdout.write(json.dumps(asdict(done), indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m plant.shift", description=__doc__)
    parser.add_argument("--breakdown-seconds", type=float, default=2)
    asyncio.run(_main(parser.parse_args().breakdown_seconds))
