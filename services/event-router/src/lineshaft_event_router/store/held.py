"""Events of subscriptions that wait for another attempt, or that were given up."""

from collections.abc import Sequence

from lineshaft_common.postgres import Pool

from lineshaft_event_router.subscriptions.records import Failure, HeldHead, LogEvent, Stored


class HeldStore:
    """See `subscriptions.stores.HeldEvents`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def held(self, stored: Stored) -> list[HeldHead]:
        """List the held keys of a subscription."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT ON (key) key, attempts, first_failed_at, due_at,
                   parked_at IS NOT NULL AS parked, count(*) OVER (PARTITION BY key) AS events
            FROM subscription_held WHERE tenant = $1 AND subscription = $2
            ORDER BY key, "offset"
            """,
            stored.tenant,
            stored.id,
        )
        return [HeldHead(**dict(row)) for row in rows]

    async def hold(
        self,
        stored: Stored,
        events: Sequence[LogEvent],
        *,
        failure: Failure | None = None,
        parked: Sequence[bool] = (),
    ) -> int:
        """Put events aside; how many were new. `failure` is that of a first attempt.

        Idempotent by the offset. Without effect after a replay: they are read again.
        """
        inserted: str = await self._pool.execute(
            """
            INSERT INTO subscription_held
                (tenant, subscription, "offset", key, event_id, event_type, message_id, body,
                 priority, expires_at, traceparent, tracestate, attempts, error,
                 first_failed_at, due_at, parked_at)
            SELECT $1, $2, n."offset", n.key, n.event_id, n.event_type, n.message_id, n.body,
                   n.priority, n.expires_at, n.traceparent, n.tracestate,
                   $14, $15, $16, coalesce($17, now()), CASE WHEN n.parked THEN now() END
            FROM unnest($4::bigint[], $5::text[], $6::text[], $7::text[], $8::text[],
                        $9::bytea[], $10::text[], $11::timestamptz[], $12::text[], $13::text[],
                        $18::boolean[])
                AS n ("offset", key, event_id, event_type, message_id, body, priority,
                      expires_at, traceparent, tracestate, parked)
            WHERE EXISTS (SELECT FROM subscriptions
                          WHERE tenant = $1 AND id = $2 AND replays = $3 FOR SHARE)
            ON CONFLICT DO NOTHING
            """,
            stored.tenant,
            stored.id,
            stored.replays,
            [one.offset for one in events],
            [one.key for one in events],
            [one.id for one in events],
            [one.type for one in events],
            [one.message_id for one in events],
            [one.body for one in events],
            [one.priority for one in events],
            [one.expires_at for one in events],
            [one.traceparent for one in events],
            [one.tracestate for one in events],
            0 if failure is None else failure.attempts,
            "" if failure is None else failure.error,
            None if failure is None else failure.first_failed_at,
            None if failure is None else failure.due_at,
            list(parked) or [False] * len(events),
        )
        return int(inserted.split()[2])

    async def head(self, stored: Stored, key: str) -> LogEvent | None:
        """Read the first held event of a key."""
        row = await self._pool.fetchrow(
            """
            SELECT "offset", key, event_id AS id, event_type AS type, message_id, body,
                   priority, expires_at, tenant, traceparent, tracestate
            FROM subscription_held WHERE tenant = $1 AND subscription = $2 AND key = $3
            ORDER BY "offset" LIMIT 1
            """,
            stored.tenant,
            stored.id,
            key,
        )
        return None if row is None else LogEvent(**dict(row))

    async def release(self, stored: Stored, event: LogEvent) -> None:
        """Remove a held event that was delivered, or that nobody wants any more."""
        await self._pool.execute(
            """
            DELETE FROM subscription_held
            WHERE tenant = $1 AND subscription = $2 AND "offset" = $3
            """,
            stored.tenant,
            stored.id,
            event.offset,
        )

    async def postpone(self, stored: Stored, event: LogEvent, failure: Failure) -> None:
        """Note another failed attempt of a held event."""
        await self._pool.execute(
            """
            UPDATE subscription_held
            SET attempts = $4, first_failed_at = $5, due_at = $6, error = $7
            WHERE tenant = $1 AND subscription = $2 AND "offset" = $3
            """,
            stored.tenant,
            stored.id,
            event.offset,
            failure.attempts,
            failure.first_failed_at,
            failure.due_at,
            failure.error,
        )

    async def park(self, stored: Stored, key: str) -> None:
        """Give up a key: its first event and all behind it."""
        await self._pool.execute(
            """
            UPDATE subscription_held SET parked_at = now()
            WHERE tenant = $1 AND subscription = $2 AND key = $3 AND parked_at IS NULL
            """,
            stored.tenant,
            stored.id,
            key,
        )
