"""What a query answers: rows from a cursor or a COPY, within the limits of their source."""

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

import asyncpg
from asyncpg.prepared_stmt import PreparedStatement

from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.sources import SourceEntry, SourceError, SourceUnavailableError

BLOCK_BYTES = 4 * 1024**2
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
        limits = _Limits(self._name, self._entry)
        with translated(self._name):
            cursor = await self._statement.cursor(*self._arguments)
        while True:
            with translated(self._name):
                records = await cursor.fetch(self._entry.batch_rows)
            if not records:
                return
            batch = [tuple(record) for record in records]
            limits.add(len(batch), self._bytes_of(batch))
            yield batch

    def _bytes_of(self, batch: list[tuple[Any, ...]]) -> int:
        text = sum(len(row[index] or "") for index in self._text for row in batch)
        return text + VALUE_BYTES * (len(self._columns) - len(self._text)) * len(batch)


class _Limits:
    """What one answer may weigh."""

    def __init__(self, name: str, entry: SourceEntry) -> None:
        self._name = name
        self._entry = entry
        self._rows = 0
        self._bytes = 0

    def add(self, rows: int, size: int) -> None:
        """Count what came; raises SourceError when it is too much."""
        self._rows += rows
        self._bytes += size
        if self._rows > self._entry.rows_max:
            raise SourceError(
                "source_rows_limit",
                f"the query gives more than {self._entry.rows_max} rows; ask for less, or raise "
                f"rows_max of data source {self._name!r}",
            )
        if self._bytes > self._entry.bytes_max:
            raise SourceError(
                "source_bytes_limit",
                f"the query gives more than {self._entry.bytes_max} bytes; ask for less, or raise "
                f"bytes_max of data source {self._name!r}",
            )


class PostgresCopy:
    """One COPY statement; the statement timeout is for all of it."""

    def __init__(
        self,
        connection: "asyncpg.Connection[asyncpg.Record]",
        sql: str,
        arguments: tuple[Any, ...],
        *,
        name: str,
        entry: SourceEntry,
        columns: Mapping[str, ColumnType],
    ) -> None:
        self._connection = connection
        self._sql = sql
        self._arguments = arguments
        self._limits = _Limits(name, entry)
        self._name = name
        self._columns = columns

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._columns

    async def send_to(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over blocks of whole rows: PostgreSQL sends one message for each row."""
        block: list[bytes] = []
        size = 0

        async def collect(content: bytes) -> None:
            nonlocal size
            self._limits.add(0, len(content))
            block.append(content)
            size += len(content)
            if size >= BLOCK_BYTES:
                await hand_over()

        async def hand_over() -> None:
            nonlocal size
            content = b"".join(block)
            block.clear()
            size = 0
            try:
                await write(content)
            except OSError as error:
                raise _ReceiverError from error

        try:
            with translated(self._name):
                status = await self._connection.copy_from_query(
                    self._sql, *self._arguments, output=collect, format="csv"
                )
        except _ReceiverError as error:
            raise error.__cause__ or error from None
        self._limits.add(int(status.removeprefix("COPY ")), 0)
        if block:
            await write(b"".join(block))


class _ReceiverError(Exception):
    """Whoever takes the rows failed; its own error is the cause, and none of the database."""


@contextmanager
def translated(name: str) -> Generator[None]:
    """Turn the driver's errors into the job's; never show the address, it holds a password."""
    try:
        yield
    except asyncpg.QueryCanceledError:
        raise SourceUnavailableError(
            "source_timeout",
            f"data source {name!r} did not answer within its statement_timeout_seconds: ask for "
            "less, or raise the limit in the sources file",
        ) from None
    except asyncpg.TransactionRollbackError as error:
        raise SourceUnavailableError(
            "source_conflict",
            f"data source {name!r} ended the transaction in favour of another: "
            f"{type(error).__name__}",
        ) from None
    except asyncpg.LockNotAvailableError:
        raise SourceUnavailableError(
            "source_locked",
            f"rows of data source {name!r} were held by somebody else for longer than its "
            "lock_timeout_seconds",
        ) from None
    except (
        OSError,
        TimeoutError,
        asyncpg.PostgresConnectionError,
        asyncpg.OperatorInterventionError,
        asyncpg.InsufficientResourcesError,
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
    except asyncpg.PostgresError as error:
        raise _refused(name, error) from None


def _refused(name: str, error: asyncpg.PostgresError) -> SourceError:
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return SourceError(
            "source_login_refused",
            f"data source {name!r} refuses the login of its address: {type(error).__name__}",
        )
    return SourceError(
        "source_query_failed",
        f"data source {name!r} refuses the query ({error.sqlstate}): {error}",
    )
