"""How waiting jobs are chosen and started: one claim after the other, for all workers."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from lineshaft_common.postgres import Connection

from lineshaft_job_runner.allocation import Candidate, Group, allocate
from lineshaft_job_runner.store import limits

ONE_AT_A_TIME = """
SET LOCAL idle_in_transaction_session_timeout = '5s';
SELECT pg_advisory_xact_lock(hashtext('lineshaft_claims'))
"""
CANDIDATES_MAX = 2_000
"""Over all groups; a claim sees at least one job of each group."""
KEYS_MAX = 500
"""Limit keys of one tenant and type that a claim looks at; the next one goes on behind them."""

_PAIRS = """
WITH RECURSIVE pairs AS (
    (SELECT tenant, type FROM jobs WHERE state = 'queued' AND turn ORDER BY tenant, type LIMIT 1)
    UNION ALL
    SELECT following.* FROM pairs CROSS JOIN LATERAL (
        SELECT tenant, type FROM jobs
        WHERE state = 'queued' AND turn AND (tenant, type) > (pairs.tenant, pairs.type)
        ORDER BY tenant, type LIMIT 1
    ) AS following
)
"""
_ANY = f"{_PAIRS} SELECT EXISTS (SELECT FROM pairs WHERE type = ANY($1::text[]))"  # noqa: S608 - of constants only.
CANDIDATES = f"""
{_PAIRS}, groups AS (
    SELECT pairs.tenant, pairs.type, keys.limit_key
    FROM pairs
    LEFT JOIN unnest($4::text[], $5::text[], $6::text[]) AS seen (tenant, type, last_key)
         ON (seen.tenant, seen.type) = (pairs.tenant, pairs.type)
    CROSS JOIN LATERAL (
        WITH RECURSIVE walk (limit_key, number) AS (
            (SELECT limit_key, 1 FROM jobs
             WHERE state = 'queued' AND turn AND tenant = pairs.tenant AND type = pairs.type
               AND limit_key > coalesce(seen.last_key, '')
             ORDER BY limit_key LIMIT 1)
            UNION ALL
            SELECT following.limit_key, walk.number + 1
            FROM walk CROSS JOIN LATERAL (
                SELECT limit_key FROM jobs
                WHERE state = 'queued' AND turn AND tenant = pairs.tenant AND type = pairs.type
                  AND limit_key > walk.limit_key
                ORDER BY limit_key LIMIT 1
            ) AS following
            WHERE walk.number < $7
        )
        SELECT '' AS limit_key
        UNION ALL
        SELECT limit_key FROM walk
    ) AS keys
    WHERE pairs.type = ANY($1::text[])
), served AS (
    SELECT tenant, type, limit_key,
           least($2, greatest(1, $3 / count(*) OVER ()))::integer AS depth
    FROM groups
)
SELECT tenant, type, limit_key, NULL::bigint AS running, heads.ranks, heads.numbers, heads.ids
FROM served CROSS JOIN LATERAL (
    SELECT array_agg(extract(epoch FROM rank)::float8) AS ranks, array_agg(number) AS numbers,
           array_agg(id) AS ids
    FROM (SELECT rank, number, id FROM jobs
          WHERE state = 'queued' AND turn AND tenant = served.tenant AND type = served.type
            AND limit_key = served.limit_key
          ORDER BY rank, number LIMIT served.depth) AS head
) AS heads
UNION ALL
SELECT tenant, type, limit_key, count(*), NULL, NULL, NULL
FROM jobs WHERE state = 'running' GROUP BY tenant, type, limit_key
"""  # noqa: S608 - of constants only.
"""The first jobs of each group, read from the index alone, and how many run of each group."""

_START = """
UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $2,
       lease_token = gen_random_uuid(), lease_until = now() + $3, started_at = now(),
       error = NULL, progress_done = 0, progress_total = 0, progress_message = ''
WHERE id = ANY($1::uuid[]) AND state = 'queued'
RETURNING id, tenant, type, priority, parameters, attempt, attempts_max, timeout_seconds,
          lease_token, traceparent, deadline_at, checkpoint, child_count,
          greatest(0, extract(epoch FROM now() - ready_at))::float8 AS waited_seconds
"""


class Positions:
    """Where the next claim goes on with the tenants and types that have too many limit keys.

    So the cost of a claim has a bound, whatever a tenant thinks of, and every key gets its turn.
    """

    def __init__(self) -> None:
        self._last: dict[tuple[str, str], str] = {}

    @property
    def columns(self) -> tuple[list[str], list[str], list[str]]:
        """Tenants, types and the key of each that was looked at last."""
        pairs = list(self._last)
        return [t for t, _ in pairs], [t for _, t in pairs], list(self._last.values())

    def seen(self, groups: Iterable[Group]) -> bool:
        """Take note of all that a claim has looked at; whether it began behind something."""
        had_positions = bool(self._last)
        keys: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for group in groups:
            if group.limit_key:
                keys[group.tenant, group.job_type].append(group.limit_key)
        self._last = {pair: some[-1] for pair, some in keys.items() if len(some) >= KEYS_MAX}
        return had_positions


async def is_any_waiting(connection: Connection, types: Sequence[str]) -> bool:
    """Whether a job could be chosen, looked up without a lock: most claims find none."""
    return bool(await connection.fetchval(_ANY, types))


async def choose(
    connection: Connection, types: Sequence[str], *, places: int, positions: Positions
) -> list[UUID]:
    """Choose what to start now, in the order of starting.

    The lock makes the claims of all workers one after the other, so that counts are exact; the
    database ends the transaction of a worker that freezes while it holds it.
    """
    await connection.execute(ONE_AT_A_TIME)
    waiting, running = await _look(connection, types, depth=places, positions=positions)
    if not waiting:
        return []
    known = await limits.of_claims(connection)
    chosen = allocate(waiting, running, known, places=places)
    await limits.spend(connection, chosen.starts)
    return list(chosen.job_ids)


async def _look(
    connection: Connection, types: Sequence[str], *, depth: int, positions: Positions
) -> tuple[Mapping[Group, Sequence[Candidate]], Mapping[Group, int]]:
    """Return the first `depth` waiting jobs of each group, and how many run of each."""
    waiting: dict[Group, Sequence[Candidate]] = {}
    running: dict[Group, int] = {}
    for row in await connection.fetch(
        CANDIDATES, types, depth, CANDIDATES_MAX, *positions.columns, KEYS_MAX
    ):
        group = Group(row["tenant"], row["type"], row["limit_key"])
        if row["running"] is not None:
            running[group] = row["running"]
        elif row["ids"]:
            heads = zip(row["ranks"], row["numbers"], row["ids"], strict=True)
            waiting[group] = [Candidate(*head) for head in heads]
    if positions.seen(waiting) and not waiting:  # Those behind are gone: look at the first again.
        return await _look(connection, types, depth=depth, positions=positions)
    return waiting, running


async def start(
    connection: Connection, job_ids: Sequence[UUID], *, worker: str, lease: timedelta
) -> list[Any]:
    """Start the chosen jobs, as far as nobody has cancelled them meanwhile; queued -> running."""
    return await connection.fetch(_START, job_ids, worker, lease)


async def children(connection: Connection, parents: Sequence[UUID]) -> dict[UUID, dict[str, int]]:
    """Count the children of jobs by state."""
    if not parents:
        return {}
    rows = await connection.fetch(
        """
        SELECT parent_id, state::text AS state, count(*) AS number FROM (
            SELECT parent_id, state FROM jobs WHERE parent_id = ANY($1::uuid[])
            UNION ALL
            SELECT parent_id, state FROM job_history WHERE parent_id = ANY($1::uuid[])
        ) AS child GROUP BY parent_id, state
        """,
        parents,
    )
    counts: defaultdict[UUID, dict[str, int]] = defaultdict(dict)
    for row in rows:
        counts[row["parent_id"]][row["state"]] = row["number"]
    return counts
