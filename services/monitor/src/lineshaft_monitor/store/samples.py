"""Samples: one row per source and tick, and the dictionary that says what is in it."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from lineshaft_common.postgres import Pool
from lineshaft_contracts.monitoring import (
    SERIES_MAX,
    Aggregation,
    MetricInfo,
    MetricSeries,
    QueryMetrics,
)

from lineshaft_monitor.samples.series import SampleRow, SeriesEntry, labels_of


class SampleTables:
    """Tables `sources`, `series` and `samples`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._sources: dict[str, tuple[int, datetime]] = {}

    async def dictionary(self) -> list[SeriesEntry]:
        """Return the dictionary of all sources."""
        rows = await self._pool.fetch(
            """
            SELECT sources.name AS source, position, series.name, labels
            FROM series JOIN sources ON sources.id = source_id
            ORDER BY source_id, position
            """
        )
        return [
            SeriesEntry(
                source=row["source"],
                position=row["position"],
                name=row["name"],
                labels=labels_of(json.loads(row["labels"])),
            )
            for row in rows
        ]

    async def add(self, entries: Sequence[SeriesEntry], rows: Sequence[SampleRow]) -> None:
        """Store new lines of the dictionary and rows, all or nothing."""
        names = {entry.source for entry in entries} | {row.source for row in rows}
        latest = max((row.at for row in rows), default=None)
        async with self._pool.acquire() as connection, connection.transaction():
            stale = [name for name in names if self._unseen(name, latest)]
            if stale:
                for found in await connection.fetch(
                    """
                    INSERT INTO sources (name) SELECT unnest($1::text[])
                    ON CONFLICT (name) DO UPDATE SET last_seen_on = current_date
                    RETURNING id, name, now() AS seen_at
                    """,
                    sorted(stale),
                ):
                    self._sources[found["name"]] = (found["id"], found["seen_at"])
            await connection.executemany(
                """
                INSERT INTO series (source_id, position, name, labels) VALUES ($1, $2, $3, $4)
                ON CONFLICT DO NOTHING
                """,
                [
                    (self._sources[e.source][0], e.position, e.name, json.dumps(dict(e.labels)))
                    for e in entries
                ],
            )
            await connection.copy_records_to_table(
                "samples",
                columns=("source_id", "at", "values"),
                records=[(self._sources[row.source][0], row.at, row.values) for row in rows],
            )

    def _unseen(self, name: str, latest: datetime | None) -> bool:
        """Whether a source is new, or was not marked as seen today."""
        known = self._sources.get(name)
        return known is None or (latest is not None and latest - known[1] > timedelta(hours=12))

    async def forget_sources(self, *, days: int) -> list[str]:
        """Delete the dictionary of sources whose samples are dropped, and name them."""
        rows = await self._pool.fetch(
            "DELETE FROM sources WHERE last_seen_on < current_date - $1::integer RETURNING name",
            days + 1,
        )
        names = [row["name"] for row in rows]
        for name in names:
            self._sources.pop(name, None)
        return names

    async def metrics(self, prefix: str, *, tenant: str | None) -> list[MetricInfo]:
        """List the metrics in the dictionary that a tenant (None: everybody) may see."""
        rows = await self._pool.fetch(
            """
            SELECT name, count(*) AS series,
                   array(
                       SELECT DISTINCT key
                       FROM series AS labelled, jsonb_object_keys(labelled.labels) AS key
                       WHERE labelled.name = series.name
                         AND ($2::text IS NULL OR coalesce(labelled.labels->>'tenant', $2) = $2)
                       ORDER BY key
                   ) AS label_names
            FROM series
            WHERE starts_with(name, $1)
              AND ($2::text IS NULL OR coalesce(labels->>'tenant', $2) = $2)
            GROUP BY name ORDER BY name
            """,
            prefix,
            tenant,
        )
        return [
            MetricInfo(
                name=row["name"], series=row["series"], label_names=tuple(row["label_names"])
            )
            for row in rows
        ]

    async def query(
        self, query: QueryMetrics, until: datetime, steps: int, *, tenant: str | None
    ) -> list[MetricSeries] | None:
        """Aggregate each matching series on the grid; None when the metric is not known.

        Series of other tenants than this one are not there (None: those of all are). One series
        more than SERIES_MAX is returned when there are more.
        """
        found = await self._pool.fetch(
            """
            SELECT source_id, position, labels FROM series
            WHERE name = $1 AND labels @> $2::jsonb
              AND ($4::text IS NULL OR coalesce(labels->>'tenant', $4) = $4)
            ORDER BY labels, source_id LIMIT $3
            """,
            query.name,
            json.dumps(query.labels),
            SERIES_MAX + 1,
            tenant,
        )
        if not found and not await self._is_known(query.name, tenant):
            return None
        sources = [row["source_id"] for row in found]
        positions = [row["position"] for row in found]
        rows = await self._pool.fetch(
            _RATE if query.aggregation is Aggregation.RATE else _AGGREGATE,
            sources,
            positions,
            query.since,
            until,
            query.step_seconds,
            query.aggregation,
        )
        values: dict[tuple[int, int], list[float | None]] = {}
        for row in rows:
            grid = values.setdefault((row["source_id"], row["position"]), [None] * steps)
            if 0 <= row["step"] < steps:
                grid[row["step"]] = row["value"]
        return [
            MetricSeries(
                labels=json.loads(row["labels"]),
                values=tuple(values[row["source_id"], row["position"]]),
            )
            for row in found
            if (row["source_id"], row["position"]) in values
        ]

    async def _is_known(self, name: str, tenant: str | None) -> bool:
        """Whether any series of a metric may be seen."""
        known: bool = await self._pool.fetchval(
            """
            SELECT EXISTS (
                SELECT FROM series
                WHERE name = $1 AND ($2::text IS NULL OR coalesce(labels->>'tenant', $2) = $2)
            )
            """,
            name,
            tenant,
        )
        return known


_AGGREGATE = """
WITH wanted AS (
    SELECT * FROM unnest($1::integer[], $2::integer[]) AS wanted (source_id, position)
), points AS (
    SELECT samples.source_id, position, at, values[position + 1] AS value,
           floor(extract(epoch FROM at - $3::timestamptz)::float8 / $5::float8)::integer AS step
    FROM samples JOIN wanted ON wanted.source_id = samples.source_id
    WHERE samples.source_id = ANY($1) AND at >= $3 AND at < $4::timestamptz
)
SELECT source_id, position, step,
       CASE $6::text
           WHEN 'avg' THEN avg(value)
           WHEN 'min' THEN min(value)
           WHEN 'max' THEN max(value)
           WHEN 'sum' THEN sum(value)
           ELSE (array_agg(value ORDER BY at DESC))[1]
       END AS value
FROM points WHERE value IS NOT NULL
GROUP BY source_id, position, step
"""

# The growth between two samples belongs to the step of the later one. A counter that fell was
# restarted: what it has now is what it grew by.
_RATE = """
WITH wanted AS (
    SELECT * FROM unnest($1::integer[], $2::integer[]) AS wanted (source_id, position)
), points AS (
    SELECT samples.source_id, position, at, values[position + 1] AS value
    FROM samples JOIN wanted ON wanted.source_id = samples.source_id
    WHERE samples.source_id = ANY($1) AND at < $4::timestamptz
      AND at >= $3::timestamptz - make_interval(secs => greatest($5::float8, 120))
), growth AS (
    SELECT source_id, position, at,
           CASE WHEN value >= lag(value) OVER w THEN value - lag(value) OVER w
                WHEN lag(value) OVER w IS NOT NULL THEN value END AS grown,
           extract(epoch FROM at - lag(at) OVER w)::float8 AS seconds
    FROM points WHERE value IS NOT NULL
    WINDOW w AS (PARTITION BY source_id, position ORDER BY at)
)
SELECT source_id, position,
       floor(extract(epoch FROM at - $3::timestamptz)::float8 / $5::float8)::integer AS step,
       sum(grown) / nullif(sum(seconds), 0) AS value
FROM growth WHERE grown IS NOT NULL AND at >= $3 AND $6::text = 'rate'
GROUP BY source_id, position, step
"""
