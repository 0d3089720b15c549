"""The transactional outbox: an event is stored with the change it announces, then relayed."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, Self

import structlog
from lineshaft_contracts.envelope import Envelope
from prometheus_client import Counter, Gauge

from lineshaft_common.messaging.bus import Bus, PublishError, UnsendableError
from lineshaft_common.messaging.outgoing import Outgoing, outgoing, traced
from lineshaft_common.postgres import Connection, Pool
from lineshaft_common.transient import is_transient

log = structlog.get_logger(__name__)

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 1 << 20
"""What one row holds at most, and one bigger message; it is sent again as a whole."""
READ_BATCHES_MAX = 500
READ_MESSAGES_MAX = 1_500
READ_BYTES_MAX = 8 << 20
"""What one round reads at most, and the batch that crosses the line."""
PUBLISH_DEADLINE_SECONDS = 10.0
POLL_SECONDS = 1.0
STOP_SECONDS = 5.0
LOCK = "lineshaft_outbox"

RELAYED = Counter("lineshaft_outbox_relayed_total", "Messages relayed by outcome", ["outcome"])
CONFIRMED = RELAYED.labels("confirmed")
WAITING = Gauge("lineshaft_outbox_batch", "Messages in the last round that was relayed")


async def add(connection: Connection, envelopes: Sequence[Envelope[Any]]) -> None:
    """Store messages in the caller's transaction; they leave, in order, after its commit.

    A message goes on with the trace that it carries; one without gets none, since what is stored
    together does not belong together. One row holds them all, whose columns are arrays: a row for
    each cost more than all the rest.
    """
    ready_to_send = [
        outgoing(envelope) if envelope.traceparent is None else traced(envelope)
        for envelope in envelopes
    ]
    for ready in _batches(ready_to_send):
        await connection.execute(
            """
            INSERT INTO outbox_batches (messages, body_bytes, exchange, routing_key, type,
                                        message_id, priority, tenant, traceparent,
                                        time_to_live_milliseconds, body)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
            """,
            len(ready),
            sum(len(m.body) for m in ready),
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


def _batches(messages: list[Outgoing]) -> Iterator[list[Outgoing]]:
    batch, size = list[Outgoing](), 0
    for message in messages:
        size += len(message.body)
        if batch and (len(batch) >= BATCH_MESSAGES_MAX or size > BATCH_BYTES_MAX):
            yield batch
            batch, size = [], len(message.body)
        batch.append(message)
    if batch:
        yield batch


class OutboxRelay:
    """Sends what the outbox holds, in order, and deletes what the broker confirmed.

    One process relays at a time (an advisory lock). A batch goes when the broker has all of it;
    until then it is sent again as a whole, with the same ids: consumers are idempotent. A crash
    between confirm and delete does the same.
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
                while await self._relay():
                    pass
            except Exception as error:  # noqa: BLE001 - the relay outlives whatever fails under it.
                log.warning("outbox_waits", error=repr(error)[:300], transient=is_transient(error))
                await asyncio.sleep(POLL_SECONDS)
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._wake.wait()

    async def _relay(self) -> bool:
        """Send the oldest batches; whether there may be more (one alone is below every bound)."""
        async with self._pool.acquire() as connection, connection.transaction():
            if not await connection.fetchval(
                "SELECT pg_try_advisory_xact_lock(hashtext($1))", LOCK
            ):
                return False
            batches = await _oldest(connection)
            if not batches:
                return False
            messages = [message for batch in batches for message in _messages(batch)]
            outcomes = iter(
                await self._bus.publish_many(messages, deadline_seconds=PUBLISH_DEADLINE_SECONDS)
            )
            sent = list[int]()
            for batch in batches:
                errors = [next(outcomes) for _ in range(batch["messages"])]
                if not _settled(batch, errors):
                    break  # Order is kept: what follows is sent again after it.
                sent.append(batch["id"])
            await connection.execute(
                "DELETE FROM outbox_batches WHERE id = ANY($1::bigint[])", sent
            )
        WAITING.set(len(messages))
        if len(sent) < len(batches):
            raise ConnectionError(f"{len(batches) - len(sent)} batches were not confirmed")
        return len(batches) > 1


async def _oldest(connection: Connection) -> list[Any]:
    return await connection.fetch(
        """
        SELECT id, messages, exchange, routing_key, type, message_id, priority, tenant,
               traceparent, time_to_live_milliseconds, body
        FROM (SELECT *, sum(messages) OVER running AS messages_so_far,
                     sum(body_bytes) OVER running AS bytes_so_far
              FROM (SELECT * FROM outbox_batches ORDER BY id LIMIT $1) AS oldest
              WINDOW running AS (ORDER BY id)) AS counted
        WHERE messages_so_far - messages < $2 AND bytes_so_far - body_bytes < $3
        ORDER BY id
        """,
        READ_BATCHES_MAX,
        READ_MESSAGES_MAX,
        READ_BYTES_MAX,
    )


def _messages(batch: Any) -> Iterator[Outgoing]:
    for exchange, key, type_, message_id, priority, tenant, traceparent, lifetime, body in zip(
        batch["exchange"],
        batch["routing_key"],
        batch["type"],
        batch["message_id"],
        batch["priority"],
        batch["tenant"],
        batch["traceparent"],
        batch["time_to_live_milliseconds"],
        batch["body"],
        strict=True,
    ):
        headers: dict[str, str | int] = {"tenant": tenant}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        yield Outgoing(
            exchange=exchange,
            routing_key=key,
            type=type_,
            message_id=message_id,
            priority=priority,
            body=body,
            headers=headers,
            time_to_live_milliseconds=lifetime,
        )


def _settled(batch: Any, errors: Sequence[PublishError | None]) -> bool:
    """Whether all of a batch is with the broker, or can never be."""
    settled = True
    for type_, error in zip(batch["type"], errors, strict=True):
        if error is None:
            continue
        RELAYED.labels(type(error).__name__).inc()
        if isinstance(error, UnsendableError):
            # Nobody will ever take it from here: it must not hold up the others.
            log.error("outbox_undeliverable", type=type_, error=str(error)[:300])
        else:
            settled = False
    CONFIRMED.inc(sum(error is None for error in errors))
    return settled
