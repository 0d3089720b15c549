"""Writes to entities of the user's own PostgreSQL databases, one transaction at a time."""

import json
import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import asyncpg

from lineshaft_job_runner.job_data import Entity, Noted, Operation, RowsRefusedError, Staging
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.sources import EntityEntry, SourceEntry, SourceError, SourcesFile
from lineshaft_job_runner.store.entity_statements import Statements, Table
from lineshaft_job_runner.store.plant_answers import translated
from lineshaft_job_runner.store.plant_ledger import Ledger
from lineshaft_job_runner.store.plant_ledgers import PostgresLedger
from lineshaft_job_runner.store.table_columns import read_columns

IDLE_SECONDS_MAX = 600
"""A transaction that waits longer for its job is ended by the database."""
REFUSALS = frozenset({"21", "22", "23", "44", "P0"})
"""Classes of SQLSTATE that blame a row: cardinality, data, integrity, check option, a trigger."""


class PostgresTarget:
    """See `Target`; its temporary tables live as long as its connection."""

    def __init__(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        *,
        name: str,
        tenant: str,
        entry: SourceEntry,
    ) -> None:
        self._connection = connection
        self._name = name
        self._entry = entry
        self._ledger = Ledger(connection, source=name, tenant=tenant, table=entry.ledger_table)
        self.sync_ledger = partial(
            PostgresLedger, connection, source=name, tenant=tenant, beside=entry.ledger_table
        )
        self._known: dict[str, Table] = {}
        self._tables: dict[tuple[str, tuple[str, ...]], int] = {}

    def entity(self, name: str) -> Entity:
        """See `Target.entity`."""
        return self._find(name).described(name)

    @asynccontextmanager
    async def transaction(self) -> "AsyncGenerator[PostgresTransaction]":
        """See `Target.transaction`."""
        await self._ledger.exists()
        transaction = self._connection.transaction(isolation="read_committed")
        with translated(self._name):
            await transaction.start()
            # A constraint that waits for the end would refuse rows when nobody can tell which.
            await self._connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        try:
            yield PostgresTransaction(self, self._connection, self._ledger, source=self._name)
        except BaseException:
            with suppress(asyncpg.PostgresError, asyncpg.InterfaceError, OSError):
                await transaction.rollback()
            raise
        with translated(self._name):
            await transaction.commit()

    async def statements(self, entity: str, columns: Sequence[str]) -> Statements:
        """Return the statements for some columns of an entity."""
        entry = self._find(entity)
        chosen = entry.choose(columns)
        if missing := [name for name in entry.key if name not in columns]:
            raise SourceError(
                "source_key_missing", f"rows of entity {entity!r} need its key: {missing}"
            )
        if entity not in self._known:
            with translated(self._name):
                self._known[entity] = await read_columns(self._connection, entity, entry)
        number = self._tables.setdefault((entity, tuple(chosen)), len(self._tables))
        return Statements(
            name=entity,
            entity=entry,
            columns=chosen,
            table=self._known[entity],
            staging=f'pg_temp."lineshaft_staging_{number}"',
        )

    def _find(self, name: str) -> EntityEntry:
        entry = self._entry.entity(name)
        if not entry.writable:
            raise SourceError(
                "source_not_writable",
                f"entity {name!r} of data source {self._name!r} is read-only: set writable in the "
                "sources file",
            )
        return entry


class PostgresTransaction:
    """See `Transaction`."""

    def __init__(
        self,
        target: PostgresTarget,
        connection: "asyncpg.Connection[asyncpg.Record]",
        ledger: Ledger,
        *,
        source: str,
    ) -> None:
        self._target = target
        self._connection = connection
        self._ledger = ledger
        self._source = source
        self._staged: dict[str, Statements] = {}

    async def stage(
        self, entity: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> Staging:
        """See `Transaction.stage`."""
        statements = await self._target.statements(entity, columns)
        table = statements.staging
        with translated(self._source):
            await self._connection.execute(statements.create)
            if table in self._staged:
                await self._connection.execute(f"TRUNCATE {table}")
            self._staged[table] = statements
            await self._connection.copy_records_to_table(
                table.removeprefix("pg_temp.").strip('"'),
                schema_name="pg_temp",
                columns=["_item", *columns],
                records=((number, *row) for number, row in enumerate(rows)),
            )
            if any(statements.table.columns[name].is_cast for name in statements.entity.key):
                await self._check_keys(statements)
        return Staging(table=table, rows=len(rows))

    async def apply(
        self,
        staging: Staging,
        operation: Operation,
        *,
        add: Sequence[str] = (),
        within: range | None = None,
    ) -> str:
        """See `Transaction.apply`."""
        statements = self._staged[staging.table]
        _check_add(statements, add, operation)
        rows = range(staging.rows) if within is None else within
        if not rows:
            return ""
        sql = statements.apply(operation, add)
        with translated(self._source):
            try:
                async with self._connection.transaction():
                    return await self._connection.fetchval(sql, rows[0], rows[-1])
            except asyncpg.PostgresError as error:
                state = error.sqlstate or ""
                if state[:2] not in REFUSALS:
                    raise
                if len(rows) > 1:  # Who asks looks for the row with smaller and smaller parts.
                    await self._connection.execute(statements.index)
                raise RowsRefusedError(state, _said(error)) from None

    async def current(
        self, staging: Staging, columns: Sequence[str]
    ) -> dict[int, tuple[Any, ...]]:
        """See `Transaction.current`."""
        statements = self._staged[staging.table]
        chosen = statements.entity.choose(columns)
        with translated(self._source):
            found = await self._connection.fetch(statements.current(list(chosen)))
        return {row[0]: tuple(row)[1:] for row in found}

    def sync(self, name: str, entity: str) -> PostgresLedger:
        """See `Transaction.sync`."""
        return self._target.sync_ledger(sync=name, entity=entity)

    async def claim(self, batch: str, part: int, digest: str) -> Noted | None:
        """See `Transaction.claim`."""
        with translated(self._source):
            return await self._ledger.claim(batch, part, digest)

    async def note(self, batch: str, part: int, note: Mapping[str, Any]) -> None:
        """See `Transaction.note`."""
        with translated(self._source):
            await self._ledger.note(batch, part, json.dumps(note, separators=(",", ":")))

    async def _check_keys(self, statements: Statements) -> None:
        if await self._connection.fetchval(statements.repeated_keys()):
            raise SourceError(
                "source_key_repeated",
                f"two rows for entity {statements.name!r} have keys that are the same for the "
                "database",
            )


@asynccontextmanager
async def open_target(
    file: SourcesFile, name: str, *, tenant: str, environment: Mapping[str, str] = os.environ
) -> AsyncGenerator[PostgresTarget]:
    """Connect as the role that may write for the tenant.

    Raises SourceError when it cannot work and SourceUnavailableError when it may later.
    """
    entry = file.entry(name, tenant=tenant)
    url = file.write_url(name, tenant=tenant, environment=environment)
    with translated(name):
        connection = await asyncpg.connect(
            url,
            timeout=entry.connect_timeout_seconds,
            statement_cache_size=0,
            server_settings={
                "application_name": "lineshaft-job",
                "statement_timeout": str(int(entry.statement_timeout_seconds * 1000)),
                "lock_timeout": str(int(entry.lock_timeout_seconds * 1000)),
                "idle_in_transaction_session_timeout": str(IDLE_SECONDS_MAX * 1000),
                "timezone": "UTC",
            },
        )
    try:
        yield PostgresTarget(connection, name=name, tenant=tenant, entry=entry)
    finally:
        # Whatever is not committed by now is not to be.
        connection.terminate()


def _check_add(statements: Statements, add: Sequence[str], operation: Operation) -> None:
    numbers = {ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE}
    for name in add:
        if (
            operation not in {Operation.UPDATE, Operation.UPSERT}
            or statements.columns.get(name) not in numbers
            or name in statements.entity.key
        ):
            raise SourceError(
                "source_column_not_added",
                f"column {name[:64]!r} cannot be added to: it has to be a staged number outside "
                "of the key, in an update or upsert",
            )
    if operation is Operation.UPDATE and len(statements.columns) == len(statements.entity.key):
        raise SourceError("source_column_missing", "an update needs columns outside of the key")


def _said(error: asyncpg.PostgresError) -> str:
    """Say what the database says, without the statement that it was about."""
    detail = getattr(error, "detail", None)
    return f"{error.args[0] if error.args else error}" + (f" ({detail})" if detail else "")
