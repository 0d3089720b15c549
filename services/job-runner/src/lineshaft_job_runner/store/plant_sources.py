"""Reads saved queries from the user's own PostgreSQL databases."""

import os
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.sources import (
    SavedQuery,
    SourceEntry,
    SourceError,
    SourcesFile,
    SourceUnavailableError,
)

POSTGRES_TYPES: Mapping[ColumnType, frozenset[str]] = {
    ColumnType.TEXT: frozenset({"text", "varchar", "bpchar", "name"}),
    ColumnType.INTEGER: frozenset({"int2", "int4", "int8"}),
    ColumnType.DECIMAL: frozenset({"numeric"}),
    ColumnType.DOUBLE: frozenset({"float4", "float8"}),
    ColumnType.TIMESTAMP: frozenset({"timestamptz"}),
    ColumnType.DATE: frozenset({"date"}),
    ColumnType.BOOLEAN: frozenset({"bool"}),
}
VALUE_BYTES = 8
"""What a value that is not text counts toward `bytes_max`."""


class PostgresRows:
    """One running statement: a server-side cursor, fetched batch by batch."""

    def __init__(
        self,
        statement: "PreparedStatement[asyncpg.Record]",
        arguments: tuple[Any, ...],
        *,
        name: str,
        entry: SourceEntry,
        columns: Mapping[str, ColumnType],
    ) -> None:
        self._statement = statement
        self._arguments = arguments
        self._name = name
        self._entry = entry
        self._columns = columns
        self._text = [
            index for index, kind in enumerate(columns.values()) if kind is ColumnType.TEXT
        ]

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._columns

    async def batches(self) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Iterate over the rows; raises SourceError as soon as a limit is passed."""
        rows_read = bytes_read = 0
        with _translated(self._name):
            cursor = await self._statement.cursor(*self._arguments)
        while True:
            with _translated(self._name):
                records = await cursor.fetch(self._entry.batch_rows)
            if not records:
                return
            batch = [tuple(record) for record in records]
            rows_read += len(batch)
            bytes_read += self._bytes_of(batch)
            self._check(rows_read, bytes_read)
            yield batch

    def _bytes_of(self, batch: list[tuple[Any, ...]]) -> int:
        text = sum(len(row[index] or "") for index in self._text for row in batch)
        return text + VALUE_BYTES * (len(self._columns) - len(self._text)) * len(batch)

    def _check(self, rows_read: int, bytes_read: int) -> None:
        if rows_read > self._entry.rows_max:
            raise SourceError(
                "source_rows_limit",
                f"the query gives more than {self._entry.rows_max} rows; ask for less, or raise "
                f"rows_max of data source {self._name!r}",
            )
        if bytes_read > self._entry.bytes_max:
            raise SourceError(
                "source_bytes_limit",
                f"the query gives more than {self._entry.bytes_max} bytes; ask for less, or raise "
                f"bytes_max of data source {self._name!r}",
            )


class PostgresSource:
    """A source inside one read-only snapshot: what is counted is what is read."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", *, name: str, entry: SourceEntry
    ) -> None:
        self._connection = connection
        self._name = name
        self._entry = entry

    async def count(self, query: str, parameters: Mapping[str, Any]) -> int:
        """Count the rows that `read` gives in the same snapshot."""
        saved = self._entry.query(query)
        arguments = saved.bind(parameters)
        # The statement comes from the operator's sources file, never from a request.
        sql = f"SELECT count(*) FROM (\n{_inner(saved)}\n) AS counted"  # noqa: S608
        with _translated(self._name):
            return int(await self._connection.fetchval(sql, *arguments))

    @asynccontextmanager
    async def read(
        self, query: str, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[PostgresRows]:
        """Prepare a saved query and check that its columns are what the file says."""
        saved = self._entry.query(query)
        arguments = saved.bind(parameters)
        with _translated(self._name):
            statement = await self._connection.prepare(_inner(saved))
        _check_columns(query, saved, statement)
        yield PostgresRows(
            statement, arguments, name=self._name, entry=self._entry, columns=saved.columns
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
    with _translated(name):
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
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            yield PostgresSource(connection, name=name, entry=entry)
    finally:
        # Nothing was written, so a connection that is slow to say goodbye is dropped.
        connection.terminate()


def _inner(saved: SavedQuery) -> str:
    return saved.sql.rstrip().rstrip(";")


def _check_columns(
    query: str,
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
        raise SourceError(
            "source_columns_differ",
            f"saved query {query!r} declares ({expected}) but the database answers ({actual}): "
            "correct the sources file, or cast in the statement",
        )


@contextmanager
def _translated(name: str) -> Generator[None]:
    """Turn the driver's errors into the job's; never show the address, it holds a password."""
    try:
        yield
    except asyncpg.QueryCanceledError:
        raise SourceUnavailableError(
            "source_timeout",
            f"data source {name!r} did not answer within its statement_timeout_seconds: ask for "
            "less, or raise the limit in the sources file",
        ) from None
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
        asyncpg.SerializationError,
    ) as error:
        raise SourceUnavailableError(
            "source_unavailable", f"data source {name!r} does not answer: {type(error).__name__}"
        ) from None
    except asyncpg.InterfaceError as error:
        if isinstance(error, ValueError):
            raise SourceError(
                "source_parameter_invalid",
                f"a parameter does not fit the statement of data source {name!r}: {error}",
            ) from None
        raise SourceUnavailableError(
            "source_unavailable", f"data source {name!r} does not answer: {error}"
        ) from None
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        raise SourceError(
            "source_login_refused",
            f"data source {name!r} refuses the login of its address: {type(error).__name__}",
        ) from None
    except asyncpg.PostgresError as error:
        raise SourceError(
            "source_query_failed",
            f"data source {name!r} refuses the query ({error.sqlstate}): {error}",
        ) from None
