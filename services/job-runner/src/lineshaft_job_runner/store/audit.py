"""The audit: who did what to many jobs, or to the rules of all."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.job_control import AuditEntry, JobAudit

from lineshaft_job_runner.store.cursors import read_cursor


async def add(
    connection: Connection, *, tenant: str, actor: str, action: str, details: Mapping[str, Any]
) -> UUID:
    """Write an entry in the transaction of what it tells; returns its id."""
    entry_id = uuid7()
    await connection.execute(
        """
        INSERT INTO job_audit (id, tenant, actor, action, details)
        VALUES ($1, $2, $3, $4, $5::jsonb)
        """,
        entry_id,
        tenant,
        actor,
        action,
        json.dumps(details),
    )
    return entry_id


class AuditStore:
    """The entries of all tenants."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def page(self, *, tenant: str, limit: int, cursor: str | None) -> JobAudit:
        """Read entries, newest first; ids are time-ordered, so the cursor is the last id."""
        rows = await self._pool.fetch(
            """
            SELECT id, at, actor, action, details FROM job_audit
            WHERE tenant = $1 AND ($2::uuid IS NULL OR id < $2) ORDER BY id DESC LIMIT $3
            """,
            tenant,
            read_cursor(cursor),
            limit + 1,
        )
        shown = rows[:limit]
        return JobAudit(
            entries=tuple(_entry(row) for row in shown),
            next_cursor=str(shown[-1]["id"]) if len(rows) > limit else None,
        )


def _entry(row: Any) -> AuditEntry:
    return AuditEntry(
        id=row["id"],
        at=row["at"],
        actor=row["actor"],
        action=row["action"],
        details=json.loads(row["details"]),
    )
