"""Reads saved queries and entities from the user's own PostgreSQL databases."""

import os
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from lineshaft_job_runner.job_data import Selection
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.sources import SavedQuery, SourceEntry, SourceError, SourcesFile
from lineshaft_job_runner.store.plant_answers import PostgresCopy, PostgresRows, translated
from lineshaft_job_runner.store.selecting import bound

POSTGRES_TYPES: Mapping[ColumnType, frozenset[str]] = {
    ColumnType.TEXT: frozenset({"text", "varchar", "bpchar", "name"}),
    ColumnType.INTEGER: frozenset({"int2", "int4", "int8"}),
    ColumnType.DECIMAL: frozenset({"numeric"}),
    ColumnType.DOUBLE: frozenset({"float4", "float8"}),
    ColumnType.TIMESTAMP: frozenset({"timestamptz"}),
    ColumnType.DATE: frozenset({"date"}),
    ColumnType.BOOLEAN: frozenset({"bool"}),
}
COPIED: Mapping[ColumnType, str] = {
    **dict.fromkeys(ColumnType, "{}"),
    ColumnType.TIMESTAMP: "(EXTRACT(EPOCH FROM {}) * 1000000)::bigint",
    ColumnType.DATE: "{} - DATE '1970-01-01'",
    ColumnType.BOOLEAN: "{}::integer",
}
"""What a column is copied as: whole numbers are written and parsed fastest."""


class PostgresSource:
    """A source inside one read-only snapshot: what is counted is what is read."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", *, name: str, entry: SourceEntry
    ) -> None:
        self._connection = connection
        self._name = name
        self._entry = entry

    async def count(self, query: str | Selection, parameters: Mapping[str, Any]) -> int:
        """Count the rows that `read` gives in the same snapshot."""
        saved, arguments = bound(self._entry, query, parameters)
        # The statement comes from the operator's sources file, never from a request.
        sql = f"SELECT count(*) FROM (\n{_inner(saved)}\n) AS counted"  # noqa: S608
        with translated(self._name):
            return int(await self._connection.fetchval(sql, *arguments))

    @asynccontextmanager
    async def read(
        self, query: str | Selection, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[PostgresRows]:
        """Prepare a query and check that its columns are what the file says."""
        saved, arguments = bound(self._entry, query, parameters)
        with translated(self._name):
            statement = await self._connection.prepare(_inner(saved))
        _check_columns(query, saved, statement)
        yield PostgresRows(
            statement, arguments, name=self._name, entry=self._entry, columns=saved.columns
        )

    @asynccontextmanager
    async def copy(
        self,
        query: str | Selection,
        parameters: Mapping[str, Any],
        *,
        columns: Sequence[str] = (),
    ) -> AsyncGenerator[PostgresCopy]:
        """Prepare a query for COPY, and check its columns."""
        saved, arguments = bound(self._entry, query, parameters)
        chosen = saved.choose(columns)
        with translated(self._name):
            statement = await self._connection.prepare(_inner(saved))
        _check_columns(query, saved, statement)
        # Names come from the operator's sources file and are plain words.
        selected = ", ".join(COPIED[kind].format(f'"{name}"') for name, kind in chosen.items())
        sql = (
            f"SELECT {selected} FROM (\n{_inner(saved)}\n) AS answer "  # noqa: S608
            f"LIMIT {self._entry.rows_max + 1}"
        )
        yield PostgresCopy(
            self._connection, sql, arguments, name=self._name, entry=self._entry, columns=chosen
        )


@asynccontextmanager
async def open_source(
    file: SourcesFile, name: str, *, tenant: str, environment: Mapping[str, str] = os.environ
) -> AsyncGenerator[PostgresSource]:
    """Connect as the tenant and begin one repeatable-read, read-only transaction.

    Raises SourceError when it cannot work and SourceUnavailableError when it may later.
    """
    entry = file.entry(name, tenant=tenant)
    url = file.url(name, tenant=tenant, environment=environment)
    with translated(name):
        connection = await asyncpg.connect(
            url,
            timeout=entry.connect_timeout_seconds,
            statement_cache_size=0,
            server_settings={
                "application_name": "lineshaft-job",
                "default_transaction_read_only": "on",
                "statement_timeout": str(int(entry.statement_timeout_seconds * 1000)),
                "timezone": "UTC",
            },
        )
    try:
        with translated(name):
            await connection.transaction(isolation="repeatable_read", readonly=True).start()
        yield PostgresSource(connection, name=name, entry=entry)
    finally:
        # Nothing was written, so there is nothing to end in order: hanging up ends the
        # transaction, and a COPY that was broken off would keep a ROLLBACK waiting.
        connection.terminate()


def _inner(saved: SavedQuery) -> str:
    return saved.sql.rstrip().rstrip(";")


def _check_columns(
    query: str | Selection,
    saved: SavedQuery,
    statement: "PreparedStatement[asyncpg.Record]",
) -> None:
    given = [(attribute.name, attribute.type.name) for attribute in statement.get_attributes()]
    agrees = len(given) == len(saved.columns) and all(
        name == declared and kind in POSTGRES_TYPES[column]
        for (name, kind), (declared, column) in zip(given, saved.columns.items(), strict=False)
    )
    if not agrees:
        expected = ", ".join(f"{name} {kind}" for name, kind in saved.columns.items())
        actual = ", ".join(f"{name} {kind}" for name, kind in given)
        what = f"saved query {query!r}" if isinstance(query, str) else f"entity {query.entity!r}"
        raise SourceError(
            "source_columns_differ",
            f"{what} declares ({expected}) but the database answers ({actual}): "
            "correct the sources file, or cast in the statement",
        )
