"""Spans, kept for some days."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from lineshaft_common.postgres import Pool
from lineshaft_contracts.telemetry import SpanView

from lineshaft_monitor.spans import SPANS_PER_TRACE_MAX, Span


class SpanTable:
    """Table `spans`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def add(self, spans: Sequence[Span]) -> None:
        """Store a batch; a span that is sent twice is there twice, and shown once."""
        now = datetime.now(UTC)
        columns = (
            *("received_at", "trace_id", "span_id", "parent_id", "service", "name", "kind"),
            *("started_at", "seconds", "status", "attributes"),
        )
        records = [
            (
                *(now, s.trace_id, s.span_id, s.parent_id, s.service, s.name, s.kind),
                *(s.started_at, s.seconds, s.status, json.dumps(s.attributes)),
            )
            for s in spans
        ]
        async with self._pool.acquire() as connection:
            await connection.copy_records_to_table("spans", columns=columns, records=records)

    async def of_trace(self, trace_id: bytes) -> tuple[SpanView, ...]:
        """Return a trace's spans in start order."""
        rows = await self._pool.fetch(
            """
            SELECT DISTINCT ON (started_at, span_id) span_id, parent_id, service, name, kind,
                   started_at, seconds, status, attributes
            FROM spans WHERE trace_id = $1
            ORDER BY started_at, span_id LIMIT $2
            """,
            trace_id,
            SPANS_PER_TRACE_MAX,
        )
        return tuple(
            SpanView(
                span_id=row["span_id"].hex(),
                parent_id=row["parent_id"] and row["parent_id"].hex(),
                service=row["service"],
                name=row["name"],
                kind=row["kind"],
                started_at=row["started_at"],
                seconds=row["seconds"],
                status=row["status"],
                attributes=json.loads(row["attributes"]),
            )
            for row in rows
        )
