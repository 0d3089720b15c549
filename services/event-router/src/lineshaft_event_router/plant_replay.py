"""Views of what happened before there were views: the events log is read once after an upgrade."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

import structlog
from lineshaft_common import lifecycle
from lineshaft_common.messaging import Bus, LogRecord
from lineshaft_common.transient import TRANSIENT_ERRORS
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.registry import UnknownTypeError, read
from lineshaft_contracts.topology import EVENTS_LOG
from pydantic import ValidationError

from lineshaft_event_router.plant_changes import READINGS

log = structlog.get_logger(__name__)

BATCH_MAX = 500
QUIET_SECONDS = 10.0
"""When the log gives nothing for so long, its end is reached."""
RETRY_SECONDS = 5.0


class Views(Protocol):
    """Where the views are kept; see store."""

    async def replay_from(self) -> int | None:
        """Return the offset from which older events are still missing; None when none are."""
        ...

    async def replay(self, envelopes: Sequence[Envelope[Any]], *, next_offset: int) -> None:
        """Apply events of the log, and remember how far it was read."""
        ...

    async def end_replay(self) -> None:
        """Remember that all older events were read."""
        ...


@asynccontextmanager
async def replay_once(
    bus: Bus, views: Views, *, quiet_seconds: float = QUIET_SECONDS
) -> AsyncGenerator[None]:
    """Read what the log holds from before this process started, beside the work of the block.

    It goes on where it was after a restart; replicas that do it at the same time do no harm.
    """
    began = datetime.now(UTC)

    async def replay() -> None:
        while True:
            try:
                await _replay(bus, views, began, quiet_seconds)
            except TRANSIENT_ERRORS as error:
                log.warning("plant_views_replay_waits", error=repr(error)[:200])
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return

    async with lifecycle.background(replay(), name="plant-views-replay"):
        yield


async def _replay(bus: Bus, views: Views, began: datetime, quiet_seconds: float) -> None:
    offset = await views.replay_from()
    if offset is None:
        return
    batch, applied = list[Envelope[Any]](), 0
    async with bus.read_log(EVENTS_LOG, offset) as records:
        while True:
            record = await _next(records, quiet_seconds)
            envelope = None if record is None else _envelope(record)
            ends = record is None or (
                envelope is not None and (envelope.recordedtime or envelope.time) > began
            )
            if record is not None:
                offset = record.offset + 1
            if envelope is not None:
                batch.append(envelope)
            if ends or len(batch) >= BATCH_MAX:
                await views.replay(batch, next_offset=offset)
                applied += len(batch)
                batch = []
            if ends:
                break
    await views.end_replay()
    log.info("plant_views_replayed", events=applied, next_offset=offset)


async def _next(records: Any, quiet_seconds: float) -> LogRecord | None:
    """Give the next record; None at the end of the log."""
    try:
        async with asyncio.timeout(quiet_seconds):
            return await anext(records)
    except TimeoutError:
        return None


def _envelope(record: LogRecord) -> Envelope[Any] | None:
    if record.type not in READINGS:
        return None
    try:
        return read(record.type, record.body)
    except (UnknownTypeError, ValidationError) as error:
        log.warning("unreadable_log_record", offset=record.offset, error=str(error)[:200])
        return None
