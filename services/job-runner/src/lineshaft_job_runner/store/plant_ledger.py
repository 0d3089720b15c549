"""The ledger in the user's database: which part of which batch was written there.

It is written in the transaction of the rows themselves, so that both are there or neither,
whenever a worker dies: a replay finds the part and changes nothing.
"""

import json
from typing import Any

import asyncpg

from lineshaft_job_runner.job_data import Noted
from lineshaft_job_runner.sources import SourceError
from lineshaft_job_runner.store.plant_answers import translated
from lineshaft_job_runner.store.selecting import qualified

KEPT_DAYS = 30
FORGOTTEN_AT_ONCE = 1_000
ONE_AT_A_TIME = 0x6C656467
"""Key of the advisory lock under which the table is made."""


class Ledger:
    """Parts of batches, by tenant."""

    def __init__(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        *,
        source: str,
        tenant: str,
        table: str,
    ) -> None:
        self._connection = connection
        self._source = source
        self._tenant = tenant
        self._name = table
        self._table = qualified(table)
        self._is_there = False

    async def exists(self) -> None:
        """Make the table when it is missing; raises SourceError when the role may not."""
        if self._is_there:
            return
        with translated(self._source):
            if await self._connection.fetchval("SELECT to_regclass($1) IS NULL", self._table):
                await self._create()
        self._is_there = True

    async def _create(self) -> None:
        try:
            async with self._connection.transaction():
                await self._connection.execute("SELECT pg_advisory_xact_lock($1)", ONE_AT_A_TIME)
                await self._connection.execute(definition(self._table))
        except asyncpg.InsufficientPrivilegeError:
            raise SourceError(
                "source_ledger_missing",
                f"the role that writes to data source {self._source!r} may not make the table "
                f"{self._name}: make it, and let the role SELECT, INSERT, UPDATE and DELETE: "
                + definition(self._table),
            ) from None

    async def claim(self, batch: str, part: int, digest: str) -> Noted | None:
        """See `Transaction.claim`; waits while another transaction holds the part."""
        if part == 0:
            await self._connection.execute(
                f"DELETE FROM {self._table} WHERE ctid IN (SELECT ctid FROM {self._table} WHERE "  # noqa: S608
                "applied_at < now() - make_interval(days => $1) LIMIT $2 FOR UPDATE SKIP LOCKED)",
                KEPT_DAYS,
                FORGOTTEN_AT_ONCE,
            )
        claimed = await self._connection.fetchval(
            f"INSERT INTO {self._table} (tenant, batch, part, digest) VALUES ($1, $2, $3, $4) "  # noqa: S608
            "ON CONFLICT (tenant, batch, part) DO NOTHING RETURNING true",
            self._tenant,
            batch,
            part,
            digest,
        )
        if claimed:
            return None
        found: Any = await self._connection.fetchrow(
            f"SELECT digest, note FROM {self._table} "  # noqa: S608
            "WHERE tenant = $1 AND batch = $2 AND part = $3",
            self._tenant,
            batch,
            part,
        )
        return Noted(digest=found["digest"], note=json.loads(found["note"]))

    async def note(self, batch: str, part: int, note: str) -> None:
        """See `Transaction.note`; `note` is JSON."""
        await self._connection.execute(
            f"UPDATE {self._table} SET note = $4::jsonb "  # noqa: S608
            "WHERE tenant = $1 AND batch = $2 AND part = $3",
            self._tenant,
            batch,
            part,
            note,
        )


def definition(table: str) -> str:
    """Return the statement that makes the ledger."""
    return (
        f"CREATE TABLE IF NOT EXISTS {table} (tenant text NOT NULL, batch text NOT NULL, "
        "part integer NOT NULL, digest text NOT NULL, note jsonb NOT NULL DEFAULT '{}', "
        "applied_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (tenant, batch, part))"
    )
