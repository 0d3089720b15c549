"""The inbox of accepted events, in PostgreSQL."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from lineshaft_common import outbox
from lineshaft_common.postgres import Pool
from lineshaft_contracts.envelope import Envelope

FORGET_MAX = 10_000


class Inbox:
    """Accepted events, and with them, in one transaction, the messages that pass them on.

    `on_accepted` is called after each commit.
    """

    def __init__(self, pool: Pool, *, on_accepted: Callable[[], None]) -> None:
        self._pool = pool
        self._on_accepted = on_accepted

    async def accept(self, envelopes: Sequence[Envelope[Any]]) -> Sequence[Envelope[Any]]:
        """Record events and pass them on in order; those of them that were new."""
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                """
                INSERT INTO inbox (tenant, source, id)
                SELECT * FROM unnest($1::text[], $2::text[], $3::text[])
                ON CONFLICT DO NOTHING RETURNING tenant, source, id
                """,
                [envelope.tenant for envelope in envelopes],
                [envelope.source for envelope in envelopes],
                [envelope.id for envelope in envelopes],
            )
            new = {tuple(row) for row in rows}
            fresh = list[Envelope[Any]]()
            for envelope in envelopes:
                key = (envelope.tenant, envelope.source, envelope.id)
                if key in new:
                    new.discard(key)  # The first of two equal ones in a batch.
                    fresh.append(envelope)
            await outbox.add(connection, fresh)
        self._on_accepted()
        return fresh

    async def forget(self, *, older_than: timedelta) -> int:
        """Delete entries that are out of the window, a bounded number at a time."""
        deleted: str = await self._pool.execute(
            """
            DELETE FROM inbox WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM inbox WHERE accepted_at < now() - $1::interval LIMIT $2))
            """,
            older_than,
            FORGET_MAX,
        )
        return int(deleted.split()[1])
