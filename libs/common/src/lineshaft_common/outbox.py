"""The transactional outbox: an event is stored with the change it announces, then relayed."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any, Self

import structlog
from lineshaft_contracts.envelope import Envelope
from prometheus_client import Counter, Gauge

from lineshaft_common.messaging.bus import (
    Bus,
    Outgoing,
    UnsendableError,
    traced,
)
from lineshaft_common.postgres import Connection, Pool
from lineshaft_common.transient import is_transient

log = structlog.get_logger(__name__)

BATCH_MAX = 500
POLL_SECONDS = 1.0
STOP_SECONDS = 5.0
LOCK = "lineshaft_outbox"

RELAYED = Counter("lineshaft_outbox_relayed_total", "Messages relayed by outcome", ["outcome"])
WAITING = Gauge("lineshaft_outbox_batch", "Messages in the last batch that was relayed")


async def add(connection: Connection, envelopes: Sequence[Envelope[Any]]) -> None:
    """Store messages in the caller's transaction; they leave, in order, after its commit."""
    if not envelopes:
        return
    ready = [traced(envelope) for envelope in envelopes]
    await connection.execute(
        """
        INSERT INTO outbox (exchange, routing_key, type, message_id, priority, tenant, traceparent,
                            time_to_live_milliseconds, body)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
                             $6::text[], $7::text[], $8::integer[], $9::bytea[])
        """,
        [m.exchange for m in ready],
        [m.routing_key for m in ready],
        [m.type for m in ready],
        [m.message_id for m in ready],
        [m.priority for m in ready],
        [str(m.headers["tenant"]) for m in ready],
        [m.headers.get("traceparent") for m in ready],
        [m.time_to_live_milliseconds for m in ready],
        [m.body for m in ready],
    )


class OutboxRelay:
    """Sends what the outbox holds, in order, and deletes what the broker confirmed.

    One process relays at a time (an advisory lock). A crash between confirm and delete sends a
    message twice with the same id; consumers are idempotent.
    """

    def __init__(self, pool: Pool, bus: Bus) -> None:
        self._pool = pool
        self._bus = bus
        self._wake = asyncio.Event()
        self._stopping = False
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run(), name="outbox-relay")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        self._wake.set()
        if self._task is not None:
            with contextlib.suppress(TimeoutError, asyncio.CancelledError):
                async with asyncio.timeout(STOP_SECONDS):
                    await self._task

    def wake(self) -> None:
        """Say that something was committed, so that nobody waits for the next poll."""
        self._wake.set()

    async def _run(self) -> None:
        while True:
            last = self._stopping
            self._wake.clear()
            try:
                await self._drain()
            except Exception as error:  # noqa: BLE001 - the relay outlives whatever fails under it.
                log.warning("outbox_waits", error=repr(error)[:300], transient=is_transient(error))
                await asyncio.sleep(POLL_SECONDS)
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _drain(self) -> None:
        while await self._relay_batch() == BATCH_MAX:
            pass

    async def _relay_batch(self) -> int:
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(
                "SELECT pg_try_advisory_xact_lock(hashtext($1))", LOCK
            ):
                return 0
            rows = await connection.fetch(
                """
                SELECT id, exchange, routing_key, type, message_id, priority, tenant, traceparent,
                       time_to_live_milliseconds, body
                FROM outbox ORDER BY id LIMIT $1
                """,
                BATCH_MAX,
            )
            if not rows:
                return 0
            outcomes = await self._bus.publish_many([_message(row) for row in rows])
            sent = list[int]()
            for row, error in zip(rows, outcomes, strict=True):
                RELAYED.labels("confirmed" if error is None else type(error).__name__).inc()
                if isinstance(error, UnsendableError):
                    # Nobody will ever take it from here: it must not hold up the others.
                    log.error("outbox_undeliverable", type=row["type"], error=str(error)[:300])
                if error is None or isinstance(error, UnsendableError):
                    sent.append(row["id"])
                    continue
                break  # Order is kept: what follows a message that failed is sent again after it.
            await connection.execute("DELETE FROM outbox WHERE id = ANY($1::bigint[])", sent)
        WAITING.set(len(rows))
        if len(sent) < len(rows):
            raise ConnectionError(f"{len(rows) - len(sent)} messages were not confirmed")
        return len(rows)


def _message(row: Any) -> Outgoing:
    headers: dict[str, str | int] = {"tenant": row["tenant"]}
    if row["traceparent"] is not None:
        headers["traceparent"] = row["traceparent"]
    return Outgoing(
        exchange=row["exchange"],
        routing_key=row["routing_key"],
        type=row["type"],
        message_id=row["message_id"],
        priority=row["priority"],
        body=row["body"],
        headers=headers,
        time_to_live_milliseconds=row["time_to_live_milliseconds"],
    )
