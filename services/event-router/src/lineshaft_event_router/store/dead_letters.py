"""Dead letters and the audit of who sent them again, in PostgreSQL."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from lineshaft_common.postgres import Pool
from lineshaft_contracts.dead_letters import (
    DeadLetter,
    DeadLetterAudit,
    DeadLetterFound,
    DeadLetterPage,
    DeadLettersRedriven,
    LetterFilter,
    ListDeadLetters,
    RedriveDeadLetters,
    RedriveRecord,
)
from pydantic_core import from_json

from lineshaft_event_router.dead_letters import Kept, Letter

BODY_SHOWN_MAX = 64 * 1024
AUDIT_MAX = 10_000


class DeadLetterBox:
    """See `dead_letters.Letters`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Keep letters, each once."""
        await self._pool.execute(
            """
            INSERT INTO dead_letters (digest, queue, reason, detail, type, message_id, tenant,
                                      exchange, routing_key, redrives, headers, body)
            SELECT * FROM unnest($1::bytea[], $2::text[], $3::text[], $4::text[], $5::text[],
                                 $6::text[], $7::text[], $8::text[], $9::text[],
                                 $10::integer[], $11::json[], $12::bytea[])
            ON CONFLICT (digest) DO NOTHING
            """,
            [one.digest for one in letters],
            [one.queue for one in letters],
            [one.reason for one in letters],
            [one.detail for one in letters],
            [one.type for one in letters],
            [one.message_id for one in letters],
            [one.tenant for one in letters],
            [one.exchange for one in letters],
            [one.routing_key for one in letters],
            [one.redrives for one in letters],
            [one.headers for one in letters],
            [one.body for one in letters],
        )

    async def total(self) -> int:
        """Count all letters."""
        return await self._pool.fetchval("SELECT count(*) FROM dead_letters")

    async def count(self, matching: LetterFilter, tenants: Sequence[str]) -> int:
        """Count the letters that match."""
        return await self._pool.fetchval(
            """
            SELECT count(*) FROM dead_letters
            WHERE tenant = ANY($1) AND (cardinality($2::bigint[]) = 0 OR id = ANY($2))
                AND ($3::text IS NULL OR queue = $3) AND ($4::text IS NULL OR reason = $4)
                AND ($5::text IS NULL OR type = $5)
                AND ($6::timestamptz IS NULL OR came_at < $6)
            """,
            *_conditions(matching, tenants),
        )

    async def page(self, question: ListDeadLetters, tenants: Sequence[str]) -> DeadLetterPage:
        """List letters of these tenants, latest first."""
        rows = await self._pool.fetch(
            """
            SELECT id, came_at, queue, reason, detail, type, message_id, tenant, exchange,
                   routing_key, redrives, octet_length(body) AS body_bytes
            FROM dead_letters
            WHERE tenant = ANY($1) AND (cardinality($2::bigint[]) = 0 OR id = ANY($2))
                AND ($3::text IS NULL OR queue = $3) AND ($4::text IS NULL OR reason = $4)
                AND ($5::text IS NULL OR type = $5)
                AND ($6::timestamptz IS NULL OR came_at < $6)
                AND ($7::bigint IS NULL OR id < $7)
            ORDER BY id DESC LIMIT $8
            """,
            *_conditions(question.matching, tenants),
            question.before,
            question.limit + 1,
        )
        shown = rows[: question.limit]
        return DeadLetterPage(
            letters=tuple(DeadLetter.model_validate(dict(row)) for row in shown),
            total=await self.count(question.matching, tenants),
            next_cursor=str(shown[-1]["id"]) if len(rows) > len(shown) else None,
        )

    async def get(self, id_: int, tenants: Sequence[str]) -> DeadLetterFound | None:
        """Find one letter of these tenants."""
        row = await self._pool.fetchrow(
            """
            SELECT id, came_at, queue, reason, detail, type, message_id, tenant, exchange,
                   routing_key, redrives, octet_length(body) AS body_bytes, headers,
                   substr(body, 1, $3) AS beginning
            FROM dead_letters WHERE id = $1 AND tenant = ANY($2)
            """,
            id_,
            list(tenants),
            BODY_SHOWN_MAX,
        )
        if row is None:
            return None
        return DeadLetterFound(
            letter=DeadLetter.model_validate(dict(row)),
            headers=from_json(row["headers"]),
            body=row["beginning"].decode(errors="replace"),
        )

    @asynccontextmanager
    async def taken(
        self, matching: LetterFilter, tenants: Sequence[str], *, after: int, limit: int
    ) -> AsyncGenerator[tuple[Sequence[Kept], Callable[[int], None]]]:
        """Lock the oldest letters for the block; those that were marked as sent go at its end."""
        sent = list[int]()
        async with self._pool.acquire() as connection, connection.transaction():
            rows = await connection.fetch(
                """
                SELECT id, digest, queue, reason, detail, type, message_id, tenant, exchange,
                       routing_key, redrives, headers, body
                FROM dead_letters
                WHERE tenant = ANY($1) AND (cardinality($2::bigint[]) = 0 OR id = ANY($2))
                    AND ($3::text IS NULL OR queue = $3) AND ($4::text IS NULL OR reason = $4)
                    AND ($5::text IS NULL OR type = $5)
                    AND ($6::timestamptz IS NULL OR came_at < $6)
                    AND id > $7
                ORDER BY id LIMIT $8 FOR UPDATE SKIP LOCKED
                """,
                *_conditions(matching, tenants),
                after,
                limit,
            )
            yield [_kept(row) for row in rows], sent.append
            await connection.execute("DELETE FROM dead_letters WHERE id = ANY($1)", sent)

    async def record(
        self, command: RedriveDeadLetters, outcome: DeadLettersRedriven, failed: int, tenant: str
    ) -> None:
        """Write what was done into the audit; the oldest entries go."""
        await self._pool.execute(
            """
            INSERT INTO dead_letter_audit (tenant, actor, matching, dry_run, matched, redriven,
                                           failed)
            VALUES ($1, $2, $3, $4, $5, $6, $7)
            """,
            tenant,
            command.actor,
            command.matching.model_dump_json(),
            command.dry_run,
            outcome.matched,
            outcome.redriven,
            failed,
        )
        await self._pool.execute(
            """
            DELETE FROM dead_letter_audit
            WHERE id <= (SELECT max(id) FROM dead_letter_audit) - $1
            """,
            AUDIT_MAX,
        )

    async def audit(self, limit: int, tenant: str) -> DeadLetterAudit:
        """List what was done, latest first."""
        rows = await self._pool.fetch(
            """
            SELECT at, actor, matching, dry_run, matched, redriven, failed
            FROM dead_letter_audit WHERE tenant = $1 ORDER BY id DESC LIMIT $2
            """,
            tenant,
            limit,
        )
        return DeadLetterAudit(
            entries=tuple(
                RedriveRecord.model_validate({**row, "matching": from_json(row["matching"])})
                for row in rows
            )
        )


def _conditions(matching: LetterFilter, tenants: Sequence[str]) -> tuple[Any, ...]:
    return (
        list(tenants),
        list(matching.ids),
        matching.queue,
        matching.reason,
        matching.type,
        matching.came_before,
    )


def _kept(row: Any) -> Kept:
    fields = dict(row)
    id_, headers = fields.pop("id"), from_json(fields["headers"])
    return Kept(id=id_, letter=Letter(**fields), headers=headers)
