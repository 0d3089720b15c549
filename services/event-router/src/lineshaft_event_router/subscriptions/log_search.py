"""Finds places in the log: its end, an instant, an event."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.subscriptions import ReplayStart
from lineshaft_contracts.topology import EVENTS_LOG

from lineshaft_event_router.subscriptions.records import UnreadableError, parse

EMPTY_SECONDS = 1.5
"""A log of which nothing came for so long is empty."""
QUIET_SECONDS = 0.15
FOUND_SECONDS = 5.0
SEARCH_SECONDS_MAX = 20.0
MARGIN = timedelta(minutes=5)
"""Events are recorded a little after they got their id."""
BREATHE_EVERY = 200


class NotInLogError(LookupError):
    """The log does not have it, or not any more."""


async def find_head(bus: Bus) -> int:
    """Return the offset of the newest record; -1 of an empty log."""
    head = -1
    async with bus.read_log(EVENTS_LOG, "last") as records:
        try:
            while True:
                async with asyncio.timeout(EMPTY_SECONDS if head < 0 else QUIET_SECONDS):
                    head = max(head, (await anext(records)).offset)
        except TimeoutError:
            return head


async def has_record(bus: Bus, offset: int) -> bool:
    """Tell whether the log has a record at this offset or after it."""
    try:
        async with bus.read_log(EVENTS_LOG, offset) as records:
            async with asyncio.timeout(FOUND_SECONDS):
                while (await anext(records)).offset < offset:
                    pass
    except TimeoutError:
        return False
    return True


async def find_start(bus: Bus, start: ReplayStart, tenant: str) -> int:
    """Return the offset that a replay begins at; raises NotInLogError."""
    head = await find_head(bus)
    if start.offset is not None:
        return min(start.offset, head + 1)  # Nobody waits for what may never come.
    if start.time is not None:
        found = await _first(bus, head, start.time - MARGIN, recorded_from=start.time)
        return head + 1 if found is None else found
    found = await _first(bus, head, _made_at(start.event_id or ""), tenant, start.event_id)
    if found is None:
        raise NotInLogError(start.event_id)
    return found


async def _first(  # noqa: PLR0917 - one search, two things to search for.
    bus: Bus,
    head: int,
    begin: datetime | None,
    tenant: str | None = None,
    event_id: str | None = None,
    recorded_from: datetime | None = None,
) -> int | None:
    """Return the first offset up to `head` that fits; None when there is none."""
    if head < 0:
        return None
    try:
        async with (
            asyncio.timeout(SEARCH_SECONDS_MAX),
            bus.read_log(EVENTS_LOG, begin or "first") as records,
        ):
            count = 0
            while True:
                async with asyncio.timeout(EMPTY_SECONDS):  # Nothing may be as late as `begin`.
                    record = await anext(records)
                count += 1
                if count % BREATHE_EVERY == 0:
                    await asyncio.sleep(0)
                if recorded_from is not None:
                    fits = _recorded(record.body) >= recorded_from
                else:
                    fits = record.tenant == tenant and _has_id(record.body, event_id or "")
                if fits:
                    return record.offset
                if record.offset >= head:
                    return None
    except TimeoutError:
        return None


def _made_at(event_id: str) -> datetime | None:
    """Say when an id was made at the earliest, if it is a UUIDv7."""
    digits = event_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        made = datetime.fromtimestamp(int(digits[:12], 16) / 1000).astimezone()
        return made - MARGIN
    except (ValueError, OverflowError, OSError):
        return None


def _has_id(body: bytes, event_id: str) -> bool:
    try:
        return parse(body)["id"] == event_id
    except UnreadableError:
        return False


def _recorded(body: bytes) -> datetime:
    try:
        event: dict[str, Any] = parse(body)
        return datetime.fromisoformat(event.get("recordedtime") or event["time"])
    except (UnreadableError, KeyError, ValueError, TypeError):
        return datetime.min.replace(tzinfo=UTC)
