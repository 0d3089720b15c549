"""Accepted and refused events, in PostgreSQL."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import FieldProblem
from lineshaft_contracts.routing import (
    AcceptedEvents,
    EventStats,
    ListQuarantined,
    QuarantinedEvent,
    QuarantinePage,
    RefusedEvents,
)
from pydantic import TypeAdapter

from lineshaft_event_router.refusal import Refusal
from lineshaft_event_router.store import plant_views

FORGET_MAX = 10_000
QUARANTINE_MAX = 10_000
"""Refused events that can be looked up."""

_ERRORS = TypeAdapter(tuple[FieldProblem, ...])


class Inbox:
    """Accepted events, and in one transaction the plant's state and the messages that go on.

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
            await plant_views.apply(connection, fresh)
            await _count(connection, envelopes, fresh)
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


async def _count(
    connection: Connection, envelopes: Sequence[Envelope[Any]], fresh: Sequence[Envelope[Any]]
) -> None:
    """Count events in the caller's transaction, as its last statement: its rows are shared."""
    taken = Counter((e.tenant, e.type, e.priority.value) for e in envelopes)
    accepted = Counter((e.tenant, e.type, e.priority.value) for e in fresh)
    keys = sorted(taken)  # Replicas lock rows in the same order.
    await connection.execute(
        """
        INSERT INTO event_counts AS c
            (tenant, type, priority, accepted, repeated, first_at, last_at)
        SELECT tenant, type, priority, accepted, repeated, now(), now()
        FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[])
            AS n (tenant, type, priority, accepted, repeated)
        ON CONFLICT (tenant, type, priority) DO UPDATE SET
            accepted = c.accepted + EXCLUDED.accepted,
            repeated = c.repeated + EXCLUDED.repeated,
            last_at = CASE WHEN EXCLUDED.accepted > 0 THEN EXCLUDED.last_at ELSE c.last_at END
        """,
        [tenant for tenant, _, _ in keys],
        [type_ for _, type_, _ in keys],
        [priority for _, _, priority in keys],
        [accepted[key] for key in keys],
        [taken[key] - accepted[key] for key in keys],
    )


class Quarantine:
    """The latest refused events, with their reasons."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Keep refusals in order, and forget the oldest ones."""
        await self._pool.execute(
            """
            INSERT INTO quarantine (lane, tenant, code, detail, errors, event_id, source,
                                    event_type, body_bytes)
            SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::json[],
                                 $6::text[], $7::text[], $8::text[], $9::integer[])
            """,
            [one.lane for one in refusals],
            [one.tenant for one in refusals],
            [one.problem.code for one in refusals],
            [one.problem.detail for one in refusals],
            [_ERRORS.dump_json(one.problem.errors).decode() for one in refusals],
            [one.event_id for one in refusals],
            [one.source for one in refusals],
            [one.event_type for one in refusals],
            [one.body_bytes for one in refusals],
        )
        await self._pool.execute(
            "DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - $1",
            QUARANTINE_MAX,
        )

    async def page(
        self, question: ListQuarantined, *, tenant: str | None, before: int | None
    ) -> QuarantinePage:
        """List refused events of a tenant, or of all; `before` is where the last page ended."""
        rows = await self._pool.fetch(
            """
            SELECT id, refused_at, lane, tenant, code, detail, errors, event_id, source,
                   event_type, body_bytes
            FROM quarantine
            WHERE ($1::text IS NULL OR tenant = $1) AND ($2::text IS NULL OR code = $2)
                AND ($3::bigint IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4
            """,
            tenant,
            question.code,
            before,
            question.limit + 1,
        )
        shown = rows[: question.limit]
        return QuarantinePage(
            events=tuple(
                QuarantinedEvent.model_validate(
                    {**row, "errors": _ERRORS.validate_json(row["errors"])}
                )
                for row in shown
            ),
            next_cursor=str(shown[-1]["id"]) if len(rows) > len(shown) else None,
        )


class EventBook:
    """What was counted of a tenant's events, or of everybody's."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def stats(self, *, tenant: str | None) -> EventStats:
        """Add up what came in and what was refused."""
        counted = await self._pool.fetch(
            """
            SELECT type AS event_type, priority, sum(accepted)::bigint AS accepted,
                   sum(repeated)::bigint AS repeated, min(first_at) AS first_accepted_at,
                   max(last_at) AS last_accepted_at
            FROM event_counts WHERE $1::text IS NULL OR tenant = $1
            GROUP BY type, priority ORDER BY type, priority
            """,
            tenant,
        )
        refused = await self._pool.fetch(
            """
            SELECT code, count(*) AS refused, max(refused_at) AS last_refused_at
            FROM quarantine WHERE $1::text IS NULL OR tenant = $1
            GROUP BY code ORDER BY refused DESC, code
            """,
            tenant,
        )
        by_type = tuple(AcceptedEvents.model_validate(dict(row)) for row in counted)
        by_code = tuple(RefusedEvents.model_validate(dict(row)) for row in refused)
        return EventStats(
            at=datetime.now(UTC),
            accepted=sum(one.accepted for one in by_type),
            repeated=sum(one.repeated for one in by_type),
            refused=sum(one.refused for one in by_code),
            last_accepted_at=max((one.last_accepted_at for one in by_type), default=None),
            by_type=by_type,
            by_code=by_code,
        )
