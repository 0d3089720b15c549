"""What people ask and change of subscriptions."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.subscriptions import (
    SUBSCRIPTIONS_MAX,
    Protocol,
    Subscription,
    SubscriptionView,
)
from pydantic_core import to_json

from lineshaft_event_router.subscriptions.desk import Change, TooManyError
from lineshaft_event_router.subscriptions.queue_courier import queue_name


class SubscriptionBook:
    """See `subscriptions.desk.Book`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, tenant: str, id_: str) -> SubscriptionView | None:
        """Look up a subscription."""
        found = await self.page(tenant, id_=id_, after=None, limit=1)
        return found[0] if found else None

    async def page(
        self, tenant: str, *, after: str | None, limit: int, id_: str | None = None
    ) -> list[SubscriptionView]:
        """List subscriptions by id; `after` is the last one of the page before."""
        rows = await self._pool.fetch(
            """
            SELECT id, body, secrets, state, state_reason, position, lag_messages, oldest_at,
                   missed, created_at, updated_at, held.waiting, held.parked, held.since
            FROM subscriptions AS s, LATERAL (
                SELECT count(*) FILTER (WHERE parked_at IS NULL) AS waiting,
                       count(*) FILTER (WHERE parked_at IS NOT NULL) AS parked,
                       min(first_failed_at) FILTER (WHERE parked_at IS NULL) AS since
                FROM subscription_held AS h
                WHERE h.tenant = s.tenant AND h.subscription = s.id) AS held
            WHERE tenant = $1 AND ($2::text IS NULL OR id = $2) AND ($3::text IS NULL OR id > $3)
            ORDER BY id LIMIT $4
            """,
            tenant,
            id_,
            after,
            limit,
        )
        return [_view(tenant, row) for row in rows]

    async def put(
        self,
        change: Change,
        subscription: Subscription,
        secrets: tuple[str, ...] | None,
        position: int,
    ) -> None:
        """Make a subscription, or replace one; None keeps its secrets."""
        async with self._pool.acquire() as connection, connection.transaction():
            version = await next_version(connection)
            others = await connection.fetchval(
                "SELECT count(*) FROM subscriptions WHERE tenant = $1 AND id <> $2",
                change.tenant,
                change.id,
            )
            if others >= SUBSCRIPTIONS_MAX:
                raise TooManyError
            await connection.execute(
                """
                INSERT INTO subscriptions (tenant, id, version, body, secrets, position)
                VALUES ($1, $2, $3, $4, $5, $6)
                ON CONFLICT (tenant, id) DO UPDATE
                SET version = $3, body = $4, updated_at = now(),
                    secrets = coalesce($7, subscriptions.secrets)
                """,
                change.tenant,
                change.id,
                version,
                subscription.model_dump_json(),
                secrets or (),
                position,
                secrets,
            )
            await connection.execute(
                "DELETE FROM subscription_queues_left WHERE queue = $1",
                queue_name(change.tenant, change.id),
            )
            await audit(connection, change)

    async def delete(self, change: Change) -> bool:
        """Remove a subscription with all its events; whether there was one."""
        async with self._pool.acquire() as connection, connection.transaction():
            await next_version(connection)
            body = await connection.fetchval(
                "DELETE FROM subscriptions WHERE tenant = $1 AND id = $2 RETURNING body",
                change.tenant,
                change.id,
            )
            if body is None:
                return False
            await connection.execute(
                """
                DELETE FROM subscription_deliveries WHERE tenant = $1 AND subscription = $2
                """,
                change.tenant,
                change.id,
            )
            if Subscription.model_validate_json(body).protocol is Protocol.AMQP:
                await connection.execute(
                    "INSERT INTO subscription_queues_left VALUES ($1) ON CONFLICT DO NOTHING",
                    queue_name(change.tenant, change.id),
                )
            await audit(connection, change)
        return True

    async def set_state(self, change: Change, *, paused: bool) -> bool:
        """Pause or resume; whether there is such a subscription."""
        async with self._pool.acquire() as connection, connection.transaction():
            version = await next_version(connection)
            updated: str = await connection.execute(
                """
                UPDATE subscriptions
                SET state = CASE WHEN $4 THEN 'paused' ELSE 'active' END, state_reason = NULL,
                    version = $3, updated_at = now()
                WHERE tenant = $1 AND id = $2
                """,
                change.tenant,
                change.id,
                version,
                paused,
            )
            if updated == "UPDATE 0":
                return False
            await audit(connection, change)
        return True

    async def replay(self, change: Change, offset: int) -> bool:
        """Let a subscription read from an offset; whether there is one."""
        async with self._pool.acquire() as connection, connection.transaction():
            version = await next_version(connection)
            updated: str = await connection.execute(
                """
                UPDATE subscriptions
                SET position = $4, replays = replays + 1, version = $3, lag_messages = 0,
                    oldest_at = NULL, updated_at = now()
                WHERE tenant = $1 AND id = $2
                """,
                change.tenant,
                change.id,
                version,
                offset,
            )
            if updated == "UPDATE 0":
                return False
            await connection.execute(
                """
                DELETE FROM subscription_held
                WHERE tenant = $1 AND subscription = $2 AND "offset" >= $3
                """,
                change.tenant,
                change.id,
                offset,
            )
            await audit(connection, change)
        return True


async def next_version(connection: Connection) -> int:
    """Give a change its number; the row is locked until then, so numbers come in order."""
    return await connection.fetchval(
        "UPDATE subscriptions_version SET version = version + 1 RETURNING version"
    )


async def audit(connection: Connection, change: Change) -> UUID:
    """Record who did what, in the transaction that does it."""
    id_ = uuid7()
    await connection.execute(
        """
        INSERT INTO subscription_audit (id, tenant, actor, action, subscription, details)
        VALUES ($1, $2, $3, $4, $5, $6)
        """,
        id_,
        change.tenant,
        change.actor,
        change.action,
        change.id,
        to_json(change.details).decode(),
    )
    return id_


def _view(tenant: str, row: "asyncpg.Record") -> SubscriptionView:
    values: dict[str, Any] = dict(row)
    subscription = Subscription.model_validate_json(values.pop("body"))
    since = min(
        (at for at in (values.pop("oldest_at"), values.pop("since")) if at is not None),
        default=None,
    )
    secrets = values.pop("secrets")
    lags = values["lag_messages"] > 0 or values["waiting"] > 0
    age = (datetime.now(UTC) - since).total_seconds() if since is not None and lags else 0.0
    is_queue = subscription.protocol is Protocol.AMQP
    return SubscriptionView(
        **values,
        subscription=subscription,
        queue=queue_name(tenant, values["id"]) if is_queue else None,
        secrets=len(secrets),
        lag_seconds=max(0.0, age),
    )
