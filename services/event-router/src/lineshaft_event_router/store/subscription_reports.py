"""The delivery log, the parked events and the audit of subscriptions."""

from uuid import UUID

from lineshaft_common.postgres import Pool
from lineshaft_contracts.subscription_reports import (
    DeliveryAttempt,
    ListDeliveries,
    ListParked,
    ListSubscriptionAudit,
    ParkedEvent,
    ParkedRedriven,
    RedriveParked,
    SubscriptionAuditEntry,
)
from pydantic_core import from_json

from lineshaft_event_router.store.subscriptions import audit, next_version
from lineshaft_event_router.subscriptions.desk import Change


class SubscriptionReports:
    """See `subscriptions.reports_desk.Reports`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def deliveries(
        self, tenant: str, question: ListDeliveries, before: int | None
    ) -> tuple[list[DeliveryAttempt], int | None]:
        """List attempts, newest first; and where the next page begins."""
        rows = await self._pool.fetch(
            """
            SELECT id, at, event_id, event_type, key, "offset", attempt, outcome, status,
                   milliseconds, detail
            FROM subscription_deliveries
            WHERE tenant = $1 AND subscription = $2 AND ($3::bigint IS NULL OR id < $3)
                AND (NOT $4 OR outcome <> 'delivered')
            ORDER BY id DESC LIMIT $5
            """,
            tenant,
            question.id,
            before,
            question.failed_only,
            question.limit + 1,
        )
        shown = rows[: question.limit]
        following = shown[-1]["id"] if len(rows) > len(shown) else None
        return [DeliveryAttempt.model_validate(dict(row)) for row in shown], following

    async def parked(
        self, tenant: str, question: ListParked, after: int | None
    ) -> tuple[list[ParkedEvent], int | None]:
        """List parked events, oldest first; and where the next page begins."""
        rows = await self._pool.fetch(
            """
            SELECT "offset", key, event_id, event_type, attempts, error, first_failed_at,
                   parked_at
            FROM subscription_held
            WHERE tenant = $1 AND subscription = $2 AND parked_at IS NOT NULL
                AND ($3::text IS NULL OR key = $3) AND ($4::bigint IS NULL OR "offset" > $4)
            ORDER BY "offset" LIMIT $5
            """,
            tenant,
            question.id,
            question.key,
            after,
            question.limit + 1,
        )
        shown = rows[: question.limit]
        following = shown[-1]["offset"] if len(rows) > len(shown) else None
        return [ParkedEvent.model_validate(dict(row)) for row in shown], following

    async def redrive(self, change: Change, redrive: RedriveParked) -> ParkedRedriven:
        """Let parked keys be tried again, one after the other; count them alone of a dry run."""
        async with self._pool.acquire() as connection, connection.transaction():
            version = await next_version(connection)
            rows = await connection.fetch(
                """
                SELECT key, count(*) AS events FROM subscription_held
                WHERE tenant = $1 AND subscription = $2 AND parked_at IS NOT NULL
                    AND ($3::text IS NULL OR key = $3)
                GROUP BY key HAVING $4::timestamptz IS NULL OR min(parked_at) < $4
                ORDER BY min("offset")
                """,
                change.tenant,
                change.id,
                redrive.key,
                redrive.parked_before,
            )
            chosen = [] if redrive.dry_run else [row["key"] for row in rows[: redrive.keys_max]]
            events = sum(row["events"] for row in rows)
            if chosen:
                await connection.execute(
                    """
                    UPDATE subscription_held AS h
                    SET parked_at = NULL, first_failed_at = NULL,
                        due_at = now() + (n.place - 1) / $4::float8 * interval '1 second'
                    FROM unnest($3::text[]) WITH ORDINALITY AS n (key, place)
                    WHERE h.tenant = $1 AND h.subscription = $2 AND h.key = n.key
                    """,
                    change.tenant,
                    change.id,
                    chosen,
                    redrive.keys_per_second,
                )
                await connection.execute(
                    "UPDATE subscriptions SET version = $3 WHERE tenant = $1 AND id = $2",
                    change.tenant,
                    change.id,
                    version,
                )
            counts = {"keys": len(rows), "events": events, "redriven": len(chosen)}
            id_: UUID = await audit(connection, change.told(**counts))
        return ParkedRedriven(id=id_, keys=len(rows), events=events, redriven=len(chosen))

    async def audit_page(
        self, tenant: str, question: ListSubscriptionAudit, before: UUID | None
    ) -> tuple[list[SubscriptionAuditEntry], UUID | None]:
        """List what was done, newest first; and where the next page begins."""
        rows = await self._pool.fetch(
            """
            SELECT id, at, actor, action, subscription, details FROM subscription_audit
            WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
            """,
            tenant,
            before,
            question.limit + 1,
        )
        shown = rows[: question.limit]
        entries = [
            SubscriptionAuditEntry.model_validate({**row, "details": from_json(row["details"])})
            for row in shown
        ]
        return entries, shown[-1]["id"] if len(rows) > len(shown) else None
