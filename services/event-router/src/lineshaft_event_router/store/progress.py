"""What delivering reads and writes: subscriptions, positions, the delivery log."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager

import asyncpg
import structlog
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.subscriptions import Subscription, SubscriptionState
from pydantic import ValidationError

from lineshaft_event_router.subscriptions.records import Attempt, Progress, Stored

log = structlog.get_logger(__name__)

DELIVERIES_MAX = 1_000
"""Lines of the delivery log that are kept of each subscription."""
PRUNED_MAX = 50_000
OFFSETS_OF_ONE_LOG = 2**40


class DeliveryStore:
    """See `subscriptions.stores.Subscriptions`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    @asynccontextmanager
    async def leading(self) -> AsyncGenerator["Leadership | None"]:
        """Be the one process that delivers, in the block; None when another one is."""
        async with self._pool.acquire() as connection:
            lead = await connection.fetchval(
                "SELECT pg_try_advisory_lock(hashtext('lineshaft_subscriptions'))"
            )
            if not lead:
                yield None
                return
            try:
                yield Leadership(connection)
            finally:
                await _unlock(connection)

    async def version(self) -> int:
        """Return the number of the latest change."""
        return await self._pool.fetchval("SELECT version FROM subscriptions_version")

    async def load(self) -> list[Stored]:
        """Read all subscriptions."""
        rows = await self._pool.fetch(
            """
            SELECT tenant, id, version, replays, body, secrets, state, position
            FROM subscriptions
            """
        )
        return [stored for row in rows if (stored := _stored(row)) is not None]

    async def rewind_all(self, offset: int) -> None:
        """Let everybody read from an offset: the log was made anew."""
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "UPDATE subscriptions SET position = $1, replays = replays + 1", offset
            )
            # Events of the old log stay in front of those of the new one, and apart from them.
            await connection.execute(
                'UPDATE subscription_held SET "offset" = "offset" - $1', OFFSETS_OF_ONE_LOG
            )

    async def advance(self, progress: Sequence[Progress]) -> None:
        """Keep positions; those of before a replay have no effect, and none goes back."""
        await self._pool.execute(
            """
            UPDATE subscriptions AS s
            SET position = n.position, lag_messages = n.lag_messages, oldest_at = n.oldest_at,
                missed = s.missed + n.missed
            FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[],
                        $6::timestamptz[], $7::bigint[])
                AS n (tenant, id, replays, position, lag_messages, oldest_at, missed)
            WHERE s.tenant = n.tenant AND s.id = n.id AND s.replays = n.replays
                AND s.position <= n.position
            """,
            [one.tenant for one in progress],
            [one.id for one in progress],
            [one.replays for one in progress],
            [one.position for one in progress],
            [one.lag_messages for one in progress],
            [one.oldest_at for one in progress],
            [one.missed for one in progress],
        )

    async def disable(self, stored: Stored, reason: str) -> None:
        """Stop a subscription, unless a person changed it meanwhile."""
        async with self._pool.acquire() as connection, connection.transaction():
            version = await connection.fetchval(
                "UPDATE subscriptions_version SET version = version + 1 RETURNING version"
            )
            await connection.execute(
                """
                UPDATE subscriptions
                SET state = 'disabled', state_reason = $4, version = $5, updated_at = now()
                WHERE tenant = $1 AND id = $2 AND version = $3 AND state = 'active'
                """,
                stored.tenant,
                stored.id,
                stored.version,
                reason,
                version,
            )

    async def queues_left(self) -> list[str]:
        """Name the queues whose subscriptions are gone."""
        rows = await self._pool.fetch("SELECT queue FROM subscription_queues_left LIMIT 100")
        return [row["queue"] for row in rows]

    async def queue_removed(self, queue: str) -> None:
        """Forget one that is removed."""
        await self._pool.execute("DELETE FROM subscription_queues_left WHERE queue = $1", queue)

    async def log(self, attempts: Sequence[Attempt]) -> None:
        """Add lines to the delivery log."""
        await self._pool.execute(
            """
            INSERT INTO subscription_deliveries
                (tenant, subscription, at, event_id, event_type, key, "offset", attempt, outcome,
                 status, milliseconds, detail)
            SELECT * FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::text[],
                                 $5::text[], $6::text[], $7::bigint[], $8::integer[], $9::text[],
                                 $10::integer[], $11::float8[], $12::text[])
            """,
            [one.tenant for one in attempts],
            [one.subscription for one in attempts],
            [one.at for one in attempts],
            [one.event_id for one in attempts],
            [one.event_type for one in attempts],
            [one.key for one in attempts],
            [one.offset for one in attempts],
            [one.attempt for one in attempts],
            [one.outcome for one in attempts],
            [one.status for one in attempts],
            [one.milliseconds for one in attempts],
            [one.detail for one in attempts],
        )

    async def prune(self) -> None:
        """Forget the oldest lines of the delivery log."""
        await self._pool.execute(
            """
            DELETE FROM subscription_deliveries WHERE id IN (
                SELECT id FROM (
                    SELECT id, row_number() OVER (PARTITION BY tenant, subscription
                                                  ORDER BY id DESC) AS place
                    FROM subscription_deliveries) AS lines
                WHERE place > $1 LIMIT $2)
            """,
            DELIVERIES_MAX,
            PRUNED_MAX,
        )


def _stored(row: "asyncpg.Record") -> Stored | None:
    """Read a row; one that cannot be read any more stops no other subscription."""
    try:
        subscription = Subscription.model_validate_json(row["body"])
    except ValidationError:
        log.exception("subscription_unreadable", tenant=row["tenant"], id=row["id"])
        return None
    return Stored(
        tenant=row["tenant"],
        id=row["id"],
        version=row["version"],
        replays=row["replays"],
        subscription=subscription,
        secrets=tuple(row["secrets"]),
        state=SubscriptionState(row["state"]),
        position=row["position"],
    )


async def _unlock(connection: Connection) -> None:
    """Give the lock back; a connection that is lost has lost it, too."""
    try:
        if not connection.is_closed():
            await connection.execute(
                "SELECT pg_advisory_unlock(hashtext('lineshaft_subscriptions'))", timeout=2
            )
    except BaseException:
        connection.terminate()
        raise


class Leadership:
    """The lock that says who delivers; it goes with its connection."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def check(self) -> None:
        """Raise when the lock may be lost."""
        await self._connection.execute("SELECT 1", timeout=5)
