"""Alerts, their history and what rules remember."""

import json
from typing import Any
from uuid import UUID

from lineshaft_common import outbox
from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.alerts import AlertChange, AlertLevel, AlertState, AlertView, ListAlerts

from lineshaft_monitor.alert import Alert, Commit, Memory
from lineshaft_monitor.evaluation import Evaluation

_FIRING = "firing"
_RESOLVED = "resolved"


class AlertTables:
    """See `AlertStore`, and what is asked about alerts."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self) -> tuple[list[Alert], dict[str, Memory]]:
        """Return the open alerts, and what rules remember by fingerprint."""
        alerts = await self._pool.fetch(
            """
            SELECT id, tenant, level, rule, fingerprint, labels, value, summary, sequence,
                   started_at, changed_at
            FROM alerts WHERE state = 'firing'
            """
        )
        memories = await self._pool.fetch(
            """
            SELECT fingerprint, rule, labels, level, held_seconds, cleared_seconds, value,
                   event_at
            FROM evaluations
            """
        )
        return [_alert(row) for row in alerts], {m["fingerprint"]: _memory(m) for m in memories}

    async def commit(self, commit: Commit) -> None:
        """Store alerts, history, memories and events in one transaction."""
        async with self._pool.acquire() as connection, connection.transaction():
            await self._save_alerts(connection, commit)
            await self._save_memories(connection, commit)
            if commit.changes:
                await outbox.add(connection, [change.event for change in commit.changes])

    @staticmethod
    async def _save_alerts(connection: Connection, commit: Commit) -> None:
        for change in commit.changes:
            alert = change.alert
            await connection.execute(
                """
                INSERT INTO alerts (id, tenant, state, level, rule, fingerprint, labels, value,
                                    summary, sequence, started_at, changed_at, resolved_at, reason)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
                ON CONFLICT (id) DO UPDATE
                SET state = excluded.state, level = excluded.level, value = excluded.value,
                    summary = excluded.summary, sequence = excluded.sequence,
                    changed_at = excluded.changed_at, resolved_at = excluded.resolved_at,
                    reason = excluded.reason
                """,
                alert.id,
                alert.tenant,
                _FIRING if alert.resolved_at is None else _RESOLVED,
                alert.level,
                alert.rule,
                alert.fingerprint,
                json.dumps(alert.labels),
                alert.value,
                alert.summary,
                alert.sequence,
                alert.started_at,
                alert.changed_at,
                alert.resolved_at,
                alert.reason,
            )
            # Its key is (alert, sequence): a second writer of the same change fails here.
            await connection.execute(
                """
                INSERT INTO alert_history (alert_id, sequence, event, level, value, reason, at)
                VALUES ($1, $2, $3, $4, $5, $6, $7)
                """,
                alert.id,
                alert.sequence,
                change.step,
                alert.level,
                alert.value,
                change.reason,
                alert.changed_at,
            )

    @staticmethod
    async def _save_memories(connection: Connection, commit: Commit) -> None:
        idle = [f for f, memory in commit.memories.items() if memory.is_idle]
        if idle:
            await connection.execute(
                "DELETE FROM evaluations WHERE fingerprint = ANY($1::text[])", idle
            )
        rows = [
            (
                fingerprint,
                memory.rule,
                json.dumps(memory.labels),
                memory.evaluation.level,
                json.dumps(dict(memory.evaluation.held_seconds)),
                memory.evaluation.cleared_seconds,
                memory.value,
                memory.event_at,
            )
            for fingerprint, memory in commit.memories.items()
            if not memory.is_idle
        ]
        if rows:
            await connection.executemany(
                """
                INSERT INTO evaluations (fingerprint, rule, labels, level, held_seconds,
                                         cleared_seconds, value, event_at)
                VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                ON CONFLICT (fingerprint) DO UPDATE
                SET level = excluded.level, held_seconds = excluded.held_seconds,
                    cleared_seconds = excluded.cleared_seconds, value = excluded.value,
                    event_at = excluded.event_at
                """,
                rows,
            )

    async def page(
        self, query: ListAlerts, tenant: str, *, before: UUID | None
    ) -> list[AlertView]:
        """List what a tenant may see, newest first, one more than the limit."""
        rows = await self._pool.fetch(
            """
            SELECT id, tenant, state, level, rule, fingerprint, labels, value, summary,
                   started_at, changed_at, resolved_at, reason
            FROM alerts
            WHERE ($1 = '_platform' OR tenant IN ($1, '_platform'))
              AND ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR level = $3)
              AND ($4::text IS NULL OR rule = $4) AND ($5::uuid IS NULL OR id < $5)
            ORDER BY id DESC LIMIT $6
            """,
            tenant,
            query.state,
            query.level,
            query.rule,
            before,
            query.limit + 1,
        )
        return [_view(row) for row in rows]

    async def find(
        self, alert_id: UUID, tenant: str
    ) -> tuple[AlertView, tuple[AlertChange, ...]] | None:
        """Return one alert with its history; None when the tenant may see none such."""
        row = await self._pool.fetchrow(
            """
            SELECT id, tenant, state, level, rule, fingerprint, labels, value, summary,
                   started_at, changed_at, resolved_at, reason
            FROM alerts
            WHERE id = $1 AND ($2 = '_platform' OR tenant IN ($2, '_platform'))
            """,
            alert_id,
            tenant,
        )
        if row is None:
            return None
        history = await self._pool.fetch(
            """
            SELECT sequence, event, level, value, reason, at
            FROM alert_history WHERE alert_id = $1 ORDER BY sequence
            """,
            alert_id,
        )
        return _view(row), tuple(AlertChange.model_validate(dict(entry)) for entry in history)

    async def trim(self, *, days: int) -> int:
        """Delete alerts that were resolved long ago, with their history."""
        return await self._pool.fetchval(
            """
            WITH gone AS (
                DELETE FROM alerts
                WHERE state = 'resolved' AND resolved_at < now() - make_interval(days => $1)
                RETURNING 1
            )
            SELECT count(*) FROM gone
            """,
            days,
        )


def _alert(row: Any) -> Alert:
    fields = dict(row)
    fields["level"] = AlertLevel(row["level"])
    fields["labels"] = json.loads(row["labels"])
    return Alert(**fields)


def _view(row: Any) -> AlertView:
    fields = dict(row)
    fields["labels"] = json.loads(row["labels"])
    fields["state"] = AlertState(row["state"])
    return AlertView.model_validate(fields)


def _memory(row: Any) -> Memory:
    held: dict[str, float] = json.loads(row["held_seconds"])
    return Memory(
        rule=row["rule"],
        labels=json.loads(row["labels"]),
        value=row["value"],
        event_at=row["event_at"],
        evaluation=Evaluation(
            level=None if row["level"] is None else AlertLevel(row["level"]),
            held_seconds={AlertLevel(level): seconds for level, seconds in held.items()},
            cleared_seconds=row["cleared_seconds"],
        ),
    )
