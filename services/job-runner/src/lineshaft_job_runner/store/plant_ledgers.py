"""The ledger of inventory syncs in the user's own PostgreSQL, in the transaction of the stock."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import asyncpg

from lineshaft_job_runner.job_ledger import LedgerEntry, SyncState, Write
from lineshaft_job_runner.source_errors import SourceError
from lineshaft_job_runner.store.plant_answers import translated
from lineshaft_job_runner.store.selecting import qualified

ONE_AT_A_TIME = 0x6C73796E
"""Key of the advisory lock under which the tables are made."""
TABLES = {
    "syncs": "lineshaft_syncs",
    "synced": "lineshaft_synced",
    "ledger": "lineshaft_sync_ledger",
}
SCHEMA = """
CREATE TABLE IF NOT EXISTS {syncs} (
    tenant text NOT NULL,
    sync text NOT NULL,
    compares text NOT NULL,
    cursor_at timestamptz,
    job_id text NOT NULL,
    finished_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, sync)
);
CREATE TABLE IF NOT EXISTS {synced} (
    tenant text NOT NULL,
    sync text NOT NULL,
    item text NOT NULL,
    location text NOT NULL,
    base numeric,
    stated numeric NOT NULL,
    revision bigint NOT NULL,
    named boolean NOT NULL,
    counted_at timestamptz,
    synced_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, sync, item, location)
);
CREATE TABLE IF NOT EXISTS {ledger} (
    tenant text NOT NULL,
    sync text NOT NULL,
    item text NOT NULL,
    location text NOT NULL,
    revision bigint NOT NULL,
    entity text NOT NULL,
    job_id text NOT NULL,
    decision text NOT NULL,
    base numeric,
    source numeric NOT NULL,
    target numeric NOT NULL,
    delta numeric NOT NULL,
    effective_at timestamptz NOT NULL,
    applied_at timestamptz NOT NULL,
    PRIMARY KEY (tenant, sync, item, location, revision)
);
CREATE INDEX IF NOT EXISTS lineshaft_sync_ledger_by_job ON {ledger} (job_id);
CREATE INDEX IF NOT EXISTS lineshaft_sync_ledger_by_time
    ON {ledger} (tenant, entity, effective_at);
"""
EXISTS = "SELECT to_regclass($1) IS NOT NULL"
STATE = "SELECT compares, cursor_at FROM {syncs} WHERE tenant = $1 AND sync = $2"
BASE = """
SELECT item, location, base, stated, revision, named::integer,
       (EXTRACT(EPOCH FROM counted_at) * 1000000)::bigint,
       (EXTRACT(EPOCH FROM synced_at) * 1000000)::bigint
FROM {synced}
WHERE tenant = $1 AND sync = $2
"""
APPLIED = """
SELECT item, location, delta, (EXTRACT(EPOCH FROM effective_at) * 1000000)::bigint
FROM {ledger}
WHERE tenant = $1 AND entity = $2 AND effective_at > $3
"""
APPLIED_BY = """
SELECT item, location, base, source, target, decision, delta
FROM {ledger}
WHERE tenant = $1 AND sync = $2 AND job_id = $3
ORDER BY item, location, revision
"""
# The key of the ledger has the revision that only one run can write: a difference is applied once.
CLAIM = """
WITH given AS (
    SELECT item, location, revision, base::numeric, stated::numeric, named, counted_at,
           delta::numeric, decision, base_before::numeric, target_before::numeric, effective_at,
           position
    FROM unnest($4::text[], $5::text[], $6::bigint[], $7::text[], $8::text[], $9::boolean[],
                $10::timestamptz[], $11::text[], $12::text[], $13::text[], $14::text[],
                $15::timestamptz[])
         WITH ORDINALITY
         AS row (item, location, revision, base, stated, named, counted_at, delta, decision,
                 base_before, target_before, effective_at, position)
), remembered AS (
    INSERT INTO {synced} AS synced (tenant, sync, item, location, base, stated, revision,
                                            named, counted_at, synced_at)
    SELECT $1, $2, item, location, base, stated, revision + 1, named, counted_at, now()
    FROM given
    ORDER BY position
    ON CONFLICT (tenant, sync, item, location) DO UPDATE
    SET base = EXCLUDED.base, stated = EXCLUDED.stated, revision = EXCLUDED.revision,
        named = EXCLUDED.named, counted_at = EXCLUDED.counted_at, synced_at = EXCLUDED.synced_at
    WHERE synced.revision = EXCLUDED.revision - 1
    RETURNING item, location
), noted AS (
    INSERT INTO {ledger} (tenant, sync, item, location, revision, entity, job_id,
                          decision, base, source, target, delta, effective_at, applied_at)
    SELECT $1, $2, item, location, revision + 1, $16, $3, decision, base_before, stated,
           target_before, delta, COALESCE(effective_at, now()), now()
    FROM given JOIN remembered USING (item, location)
    WHERE delta <> 0
)
SELECT position - 1 AS position
FROM given JOIN remembered USING (item, location)
ORDER BY position
"""
SETTLE = """
INSERT INTO {syncs} AS known (tenant, sync, compares, cursor_at, job_id, finished_at)
VALUES ($1, $2, $3, $4, $5, now())
ON CONFLICT (tenant, sync) DO UPDATE
SET compares = EXCLUDED.compares, cursor_at = EXCLUDED.cursor_at, job_id = EXCLUDED.job_id,
    finished_at = EXCLUDED.finished_at
WHERE known.cursor_at IS NOT DISTINCT FROM $6
RETURNING true
"""
FORGET = """
DELETE FROM {ledger}
WHERE tenant = $1 AND entity = $2 AND effective_at < now() - interval '400 days'
"""


class PostgresLedger:
    """See `SyncLedger`."""

    def __init__(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        *,
        source: str,
        tenant: str,
        sync: str,
        entity: str,
        beside: str,
    ) -> None:
        """Take a connection; the tables are in the schema of the table `beside` them."""
        self._connection = connection
        self._source = source
        self._owner = (tenant, sync)
        self._stock = (tenant, entity)
        schema = beside.rpartition(".")[0]
        self._tables = {
            word: qualified(f"{schema}.{name}" if schema else name)
            for word, name in TABLES.items()
        }

    async def prepare(self) -> None:
        """See `SyncLedger.prepare`."""
        with translated(self._source):
            if not await self._exists():
                await self._create()

    async def state(self) -> SyncState:
        """See `SyncLedger.state`."""
        with translated(self._source):
            if not await self._exists():
                return SyncState()
            row = await self._connection.fetchrow(self._sql(STATE), *self._owner)
        return SyncState() if row is None else SyncState(compares=row[0], cursor=row[1])

    async def base(self, write: Write) -> None:
        """See `SyncLedger.base`."""
        await self._copy(write, BASE, *self._owner)

    async def applied(self, write: Write, *, after: datetime) -> None:
        """See `SyncLedger.applied`."""
        await self._copy(write, APPLIED, *self._stock, after)

    async def applied_by(self, job_id: str, write: Write) -> None:
        """See `SyncLedger.applied_by`."""
        await self._copy(write, APPLIED_BY, *self._owner, job_id)

    async def claim(self, job_id: str, entries: Sequence[LedgerEntry]) -> list[int]:
        """See `SyncLedger.claim`."""
        columns: list[list[Any]] = [
            [entry.item for entry in entries],
            [entry.location for entry in entries],
            [entry.revision for entry in entries],
            [_digits(entry.base) for entry in entries],
            [_digits(entry.stated) for entry in entries],
            [entry.named for entry in entries],
            [entry.counted_at for entry in entries],
            [_digits(entry.delta) for entry in entries],
            [entry.decision for entry in entries],
            [_digits(entry.base_before) for entry in entries],
            [_digits(entry.target_before) for entry in entries],
            [entry.effective_at for entry in entries],
        ]
        with translated(self._source):
            rows = await self._connection.fetch(
                self._sql(CLAIM), *self._owner, job_id, *columns, self._stock[1]
            )
        return [row["position"] for row in rows]

    async def settle(self, job_id: str, *, before: SyncState, after: SyncState) -> bool:
        """See `SyncLedger.settle`."""
        with translated(self._source):
            await self._connection.execute(self._sql(FORGET), *self._stock)
            found = await self._connection.fetchval(
                self._sql(SETTLE),
                *self._owner,
                after.compares,
                after.cursor,
                job_id,
                before.cursor,
            )
        return found is True

    async def _exists(self) -> bool:
        return await self._connection.fetchval(EXISTS, self._tables["ledger"]) is True

    async def _create(self) -> None:
        try:
            async with self._connection.transaction():
                await self._connection.execute("SELECT pg_advisory_xact_lock($1)", ONE_AT_A_TIME)
                await self._connection.execute(self._sql(SCHEMA))
        except asyncpg.InsufficientPrivilegeError:
            raise SourceError(
                "source_ledger_missing",
                f"the role that writes to data source {self._source!r} may not make the tables of "
                "its syncs: make them, and let the role SELECT, INSERT, UPDATE and DELETE: "
                + " ".join(self._sql(SCHEMA).split()),
            ) from None

    def _sql(self, statement: str) -> str:
        """Fill in the names of the tables; they come from the operator's sources file."""
        return statement.format(**self._tables)

    async def _copy(
        self,
        write: Write,
        statement: str,
        *arguments: Any,
    ) -> None:
        with translated(self._source):
            if await self._exists():
                await self._connection.copy_from_query(
                    self._sql(statement), *arguments, output=write, format="csv"
                )


def _digits(number: Decimal | None) -> str | None:
    # The database reads digits many times faster than the driver writes its numeric.
    return None if number is None else f"{number:f}"
