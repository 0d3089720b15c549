"""Tables of the gateway: API keys, and how far the events log was seen."""

from typing import Any

from lineshaft_common.postgres import Pool

from lineshaft_gateway.keys import ADMIN, ApiKey
from lineshaft_gateway.live import Position

PACKAGE = "lineshaft_gateway"
"""Holds the migrations of these tables."""


class PostgresKeyStore:
    """See `keys.KeyStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, prefix: str) -> ApiKey | None:
        """See `KeyStore.find`."""
        row = await self._pool.fetchrow(
            """
            SELECT prefix, tenant, name, scopes, salt, digest, created_at, created_by,
                   expires_at, revoked_at
            FROM api_key
            WHERE prefix = $1
            """,
            prefix,
            timeout=2,
        )
        return None if row is None else _key(row)

    async def add(self, key: ApiKey) -> None:
        """See `KeyStore.add`."""
        await self._pool.execute(
            """
            INSERT INTO api_key (prefix, tenant, name, scopes, salt, digest, created_at,
                                 created_by, expires_at)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
            """,
            key.prefix,
            key.tenant,
            key.name,
            sorted(key.scopes),
            key.salt,
            key.digest,
            key.created_at,
            key.created_by,
            key.expires_at,
        )

    async def list_of(self, tenant: str) -> list[ApiKey]:
        """See `KeyStore.list_of`; at most 1,000."""
        rows = await self._pool.fetch(
            """
            SELECT prefix, tenant, name, scopes, salt, digest, created_at, created_by,
                   expires_at, revoked_at
            FROM api_key
            WHERE tenant = $1
            ORDER BY created_at DESC, prefix
            LIMIT 1000
            """,
            tenant,
        )
        return [_key(row) for row in rows]

    async def revoke(self, prefix: str, tenant: str) -> tuple[str, ...]:
        """See `KeyStore.revoke`."""
        rows = await self._pool.fetch(
            """
            WITH RECURSIVE void (prefix) AS (
                SELECT prefix FROM api_key WHERE prefix = $1 AND tenant = $2
                UNION
                SELECT made.prefix FROM api_key made JOIN void ON made.created_by = void.prefix
            )
            UPDATE api_key
            SET revoked_at = coalesce(revoked_at, now())
            WHERE prefix IN (SELECT prefix FROM void)
            RETURNING prefix
            """,
            prefix,
            tenant,
        )
        return tuple(row["prefix"] for row in rows)

    async def revoke_admin_keys(self, *, but: str) -> int:
        """See `KeyStore.revoke_admin_keys`."""
        rows = await self._pool.fetch(
            """
            UPDATE api_key
            SET revoked_at = now()
            WHERE created_by IS NULL AND name = $1 AND prefix <> $2 AND revoked_at IS NULL
            RETURNING prefix
            """,
            ADMIN,
            but,
        )
        return len(rows)

    async def any_valid(self) -> bool:
        """See `KeyStore.any_valid`."""
        found: bool = await self._pool.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM api_key
                WHERE revoked_at IS NULL AND (expires_at IS NULL OR expires_at > now())
            )
            """
        )
        return found


def _key(row: Any) -> ApiKey:
    values: dict[str, Any] = dict(row)
    values["scopes"] = frozenset(values["scopes"])
    return ApiKey(**values)


class PostgresPositionStore:
    """See `live.PositionStore`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, log: str, *, new_epoch: str) -> Position:
        """See `PositionStore.load`."""
        row = await self._pool.fetchrow(
            """
            INSERT INTO log_position (log, epoch)
            VALUES ($1, $2)
            ON CONFLICT (log) DO UPDATE SET log = excluded.log
            RETURNING epoch, log_offset, event_id
            """,
            log,
            new_epoch,
        )
        assert row is not None  # noqa: S101 - the statement always returns its row.
        return Position(epoch=row["epoch"], offset=row["log_offset"], event_id=row["event_id"])

    async def advance(self, log: str, position: Position) -> None:
        """See `PositionStore.advance`."""
        await self._pool.execute(
            """
            UPDATE log_position
            SET log_offset = $3, event_id = $4, updated_at = now()
            WHERE log = $1 AND epoch = $2 AND log_offset < $3
            """,
            log,
            position.epoch,
            position.offset,
            position.event_id,
        )

    async def renew(self, log: str, *, old_epoch: str, new_epoch: str) -> str:
        """See `PositionStore.renew`."""
        await self._pool.execute(
            """
            UPDATE log_position
            SET epoch = $3, log_offset = -1, event_id = NULL, updated_at = now()
            WHERE log = $1 AND epoch = $2
            """,
            log,
            old_epoch,
            new_epoch,
        )
        epoch: str = await self._pool.fetchval(
            "SELECT epoch FROM log_position WHERE log = $1", log
        )
        return epoch
