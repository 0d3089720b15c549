"""The present state of the plant, in PostgreSQL: written with the inbox, read page by page."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from lineshaft_common.postgres import Connection, Pool
from lineshaft_contracts.envelope import Envelope
from pydantic_core import from_json, to_json

from lineshaft_event_router.plant_cells import LATEST, Cells, Stamp, merge, stamp_of
from lineshaft_event_router.plant_changes import ViewKind, changes_of
from lineshaft_event_router.plant_state import facets
from lineshaft_event_router.plant_wanted import Wanted

ROUNDS_MAX = 5
FORGET_MAX = 5_000
IDLE_FACTOR = 10
"""What never finished is kept so many times longer than what did."""


class Key(NamedTuple):
    """Which view; replicas lock them in this order."""

    tenant: str
    kind: str
    id: str


Statement = tuple[dict[str, Any], Stamp]


class RacedError(ConnectionError):
    """Views that others made and forgot while we wanted to write them; it goes by itself."""


async def apply(connection: Connection, envelopes: Sequence[Envelope[Any]]) -> None:
    """Bring the views up to events, in the caller's transaction.

    Idempotent, and the same in whichever order events come: see plant_cells.
    """
    pending: dict[Key, list[Statement]] = _statements(envelopes)
    for _ in range(ROUNDS_MAX):
        if not pending:
            return
        known = await _lock(connection, sorted(pending))
        await _update(connection, {key: _merged(known[key], pending[key]) for key in known})
        missing = {key: _merged({}, pending[key]) for key in sorted(pending.keys() - known.keys())}
        made = await _insert(connection, missing) if missing else set[Key]()
        # What another transaction made at the same time is there now, and is merged with.
        pending = {key: pending[key] for key in missing if key not in made}
    raise RacedError(f"{len(pending)} views")


def _statements(envelopes: Sequence[Envelope[Any]]) -> dict[Key, list[Statement]]:
    statements = defaultdict[Key, list[Statement]](list)
    for envelope in envelopes:
        stamp = stamp_of(envelope)
        latest = {LATEST: [envelope.source, envelope.type, envelope.id]}
        for change in changes_of(envelope):
            key = Key(envelope.tenant, change.kind.value, change.id)
            statements[key].append((change.fields | latest, stamp))
    return dict(statements)


def _merged(cells: Cells, statements: list[Statement]) -> Cells:
    for fields, stamp in statements:
        merge(cells, fields, stamp)
    return cells


async def _lock(connection: Connection, keys: Sequence[Key]) -> dict[Key, Cells]:
    rows = await connection.fetch(
        """
        SELECT v.tenant, v.kind, v.id, v.cells FROM plant_views AS v
        JOIN unnest($1::text[], $2::text[], $3::text[]) AS k (tenant, kind, id)
            ON (v.tenant, v.kind, v.id) = (k.tenant, k.kind, k.id)
        ORDER BY v.tenant, v.kind, v.id FOR UPDATE OF v
        """,
        *_columns(keys),
    )
    return {Key(row["tenant"], row["kind"], row["id"]): from_json(row["cells"]) for row in rows}


async def _update(connection: Connection, views: Mapping[Key, Cells]) -> None:
    if views:
        await connection.execute(
            """
            UPDATE plant_views AS v SET
                state = n.state, source = n.source, material = n.material, place = n.place,
                job_order = n.job_order, severity = n.severity, finished = n.finished,
                changed_at = n.changed_at, heard_at = now(), cells = n.cells
            FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[],
                        $7::text[], $8::text[], $9::integer[], $10::boolean[],
                        $11::timestamptz[], $12::json[])
                AS n (tenant, kind, id, state, source, material, place, job_order, severity,
                      finished, changed_at, cells)
            WHERE (v.tenant, v.kind, v.id) = (n.tenant, n.kind, n.id)
            """,
            *_rows(views),
        )


async def _insert(connection: Connection, views: Mapping[Key, Cells]) -> set[Key]:
    rows = await connection.fetch(
        """
        INSERT INTO plant_views (tenant, kind, id, state, source, material, place, job_order,
                                 severity, finished, changed_at, cells, heard_at)
        SELECT *, now() FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[],
                                    $6::text[], $7::text[], $8::text[], $9::integer[],
                                    $10::boolean[], $11::timestamptz[], $12::json[])
        ON CONFLICT DO NOTHING RETURNING tenant, kind, id
        """,
        *_rows(views),
    )
    return {Key(row["tenant"], row["kind"], row["id"]) for row in rows}


def _columns(keys: Sequence[Key]) -> tuple[list[str], list[str], list[str]]:
    return [key.tenant for key in keys], [key.kind for key in keys], [key.id for key in keys]


def _rows(views: Mapping[Key, Cells]) -> list[list[Any]]:
    found = [facets(ViewKind(key.kind), cells) for key, cells in views.items()]
    return [
        *_columns(list(views)),
        [one.state for one in found],
        [one.source for one in found],
        [one.material for one in found],
        [one.place for one in found],
        [one.job_order for one in found],
        [one.severity for one in found],
        [one.finished for one in found],
        [one.changed_at for one in found],
        [to_json(cells).decode() for cells in views.values()],
    ]


class PlantViews:
    """Reads the views, forgets old ones, and builds those that are older than their table."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def read(self, wanted: Wanted) -> list[tuple[str, Cells]]:
        """Give ids and cells in the order of the ids; at most `limit`, those after `after`."""
        rows = await self._pool.fetch(
            """
            SELECT id, cells FROM plant_views
            WHERE tenant = $1 AND kind = $2
                AND ($3::text IS NULL OR id > $3)
                AND (cardinality($4::text[]) = 0 OR id = ANY($4))
                AND (cardinality($5::text[]) = 0 OR state = ANY($5))
                AND ($6::text IS NULL OR source = $6 OR starts_with(source, $6 || '/'))
                AND ($7::timestamptz IS NULL OR changed_at >= $7)
                AND ($8::text IS NULL OR material = $8)
                AND ($9::text IS NULL OR place = $9)
                AND ($10::text IS NULL OR job_order = $10)
                AND ($11::integer IS NULL OR severity >= $11)
            ORDER BY id LIMIT $12
            """,
            wanted.tenant,
            wanted.kind.value,
            wanted.after,
            list(wanted.ids),
            list(wanted.states),
            wanted.below,
            wanted.changed_since,
            wanted.material,
            wanted.place,
            wanted.job_order,
            wanted.severity_min,
            wanted.limit,
        )
        return [(row["id"], from_json(row["cells"])) for row in rows]

    async def forget(self, *, older_than: timedelta) -> int:
        """Delete what finished and was not heard of for so long, or never finished for longer."""
        deleted: str = await self._pool.execute(
            """
            DELETE FROM plant_views WHERE ctid = ANY(ARRAY(
                SELECT ctid FROM plant_views
                WHERE heard_at < now() - $1::interval * CASE WHEN finished THEN 1 ELSE $2 END
                LIMIT $3))
            """,
            older_than,
            IDLE_FACTOR,
            FORGET_MAX,
        )
        return int(deleted.split()[1])

    async def replay_from(self) -> int | None:
        """Return the offset from which older events are still missing; None when none are."""
        return await self._pool.fetchval(
            "SELECT next_offset FROM plant_views_replay WHERE finished_at IS NULL"
        )

    async def replay(self, envelopes: Sequence[Envelope[Any]], *, next_offset: int) -> None:
        """Apply events of the log, and remember how far it was read."""
        async with self._pool.acquire() as connection, connection.transaction():
            await apply(connection, envelopes)
            await connection.execute(
                "UPDATE plant_views_replay SET next_offset = greatest(next_offset, $1)",
                next_offset,
            )

    async def end_replay(self) -> None:
        """Remember that all older events were read."""
        await self._pool.execute("UPDATE plant_views_replay SET finished_at = now()")
