"""What jobs see of the user's own data: rows to read, and tables, files and services to use."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from lineshaft_job_runner.job_ledger import SyncLedger


class ColumnType(StrEnum):
    """What a column holds; in brackets the Python type of its values, None where NULL."""

    TEXT = "text"
    """[str]."""
    INTEGER = "integer"
    """64 bits [int]."""
    DECIMAL = "decimal"
    """Exact [decimal.Decimal]."""
    DOUBLE = "double"
    """Binary floating point [float]."""
    TIMESTAMP = "timestamp"
    """An instant [datetime with a zone]."""
    DATE = "date"
    """[date]."""
    BOOLEAN = "boolean"
    """[bool]."""


class Comparison(StrEnum):
    """How a filter compares a column with its value; NULL fits none but `missing`."""

    EQUAL = "eq"
    NOT_EQUAL = "ne"
    LESS = "lt"
    AT_MOST = "le"
    GREATER = "gt"
    AT_LEAST = "ge"
    ONE_OF = "in"
    """The value is a list."""
    MISSING = "missing"
    """The value is true for NULL and false for anything else."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """One condition on a declared column of an entity."""

    column: str
    comparison: Comparison = Comparison.EQUAL
    value: Any = None
    """As in a request: a timestamp may be ISO 8601 text with its zone, a decimal may be text."""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """Rows of an entity, in the order of its key."""

    entity: str
    columns: Sequence[str] = ()
    """Empty for all that are declared."""
    filters: Sequence[Filter] = ()
    """All of them have to hold."""


class Rows(Protocol):
    """The answer of a data source: columns in order, and rows in batches."""

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        ...

    def batches(self) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Iterate over lists of tuples, bounded in memory."""
        ...


class Copy(Protocol):
    """The answer of a data source as CSV, which is many times faster than `Rows`.

    UTF-8 without header; NULL is empty, and text that is empty is quoted; a timestamp is
    microseconds and a date is days since 1970-01-01 UTC, a boolean is 1 or 0.
    """

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        ...

    async def send_to(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over everything, in blocks of whole rows."""
        ...


class Source(Protocol):
    """A named data source of the tenant, read-only, inside one snapshot.

    `query` is the name of a saved query with typed parameters, or rows of an entity.
    """

    async def count(self, query: str | Selection, parameters: Mapping[str, Any]) -> int:
        """Count the rows that `read` will give."""
        ...

    def read(
        self, query: str | Selection, parameters: Mapping[str, Any]
    ) -> AbstractAsyncContextManager[Rows]:
        """Give the rows; a Selection takes no parameters."""
        ...

    def copy(
        self,
        query: str | Selection,
        parameters: Mapping[str, Any],
        *,
        columns: Sequence[str] = (),
    ) -> AbstractAsyncContextManager[Copy]:
        """Give many rows; `columns` chooses and orders them, empty for all."""
        ...


class Operation(StrEnum):
    """What a set of rows does to a table."""

    INSERT = "insert"
    """A row whose key is there with other values is refused."""
    UPDATE = "update"
    """A row whose key is not there is refused."""
    UPSERT = "upsert"
    DELETE = "delete"
    """Rows have key columns alone; one that is not there is unchanged."""


class Change(StrEnum):
    """What became of one row, in one letter."""

    INSERTED = "i"
    UPDATED = "u"
    DELETED = "d"
    UNCHANGED = "n"
    """The table had it like this already."""
    REFUSED = "x"
    """INSERT: the key is there with other values; UPDATE: the key is not there."""


class RowsRefusedError(Exception):
    """The database refuses at least one of the rows; none of them was applied.

    The transaction goes on as if they had not been tried.
    """

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(message)
        self.sqlstate = sqlstate


@dataclass(frozen=True, kw_only=True)
class Entity:
    """A table of the user as the sources file declares it."""

    name: str
    columns: Mapping[str, ColumnType]
    key: tuple[str, ...]
    """Columns that identify a row."""


@dataclass(frozen=True, kw_only=True)
class Staging:
    """Rows in a temporary table of this transaction; numbered from 0 in the order given.

    Rows of the same entity with the same columns that are staged later take their place.
    """

    table: str
    rows: int


class Transaction(Protocol):
    """One transaction of the user's database: all of it at the end of its block, or nothing."""

    async def stage(
        self, entity: str, columns: Sequence[str], rows: Sequence[tuple[Any, ...]]
    ) -> Staging:
        """Copy typed rows to a temporary table; `columns` has every column of the key.

        Values have the Python type of their column and keys differ from each other.
        """
        ...

    async def apply(
        self,
        staging: Staging,
        operation: Operation,
        *,
        add: Sequence[str] = (),
        within: range | None = None,
    ) -> str:
        """Apply staged rows with one statement; returns a `Change` letter for each, in order.

        `add` names number columns whose staged value is added to the one in the table (NULL
        there counts as 0). `within` are numbers of rows; all when absent. Raises
        RowsRefusedError when a constraint or a type refuses a row.
        """
        ...

    async def current(
        self, staging: Staging, columns: Sequence[str]
    ) -> dict[int, tuple[Any, ...]]:
        """Lock the rows whose keys are staged, and give their values by number of staged row."""
        ...

    def sync(self, name: str, entity: str) -> SyncLedger:
        """Open what a sync remembers of single rows of an entity, inside of this transaction."""
        ...

    async def claim(self, batch: str, part: int, digest: str) -> "Noted | None":
        """Note that this transaction applies a part of a batch; None when it is ours to do.

        Otherwise the part was applied before and this is what was noted. Of two transactions
        that claim the same part, the second waits for the first. Kept for 30 days, per tenant.
        """
        ...

    async def note(self, batch: str, part: int, note: Mapping[str, Any]) -> None:
        """Keep a JSON document with a part that was claimed here."""
        ...


@dataclass(frozen=True, kw_only=True)
class Noted:
    """A part of a batch that was applied before."""

    digest: str
    note: dict[str, Any]


class Target(Protocol):
    """A named data source of the tenant with entities that may be written."""

    def entity(self, name: str) -> Entity:
        """Find an entity that is writable; raises SourceError otherwise."""
        ...

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Begin a transaction; it is committed unless the block raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An HTTP service of the sources file (kind http), with its secrets filled in."""

    base_url: str
    headers: Mapping[str, str] = field(repr=False)
    """Secrets among them: never log them, never show them in an error."""
    connect_timeout_seconds: float
    response_timeout_seconds: float
    """For one whole answer."""
    response_bytes_max: int
    resolve: Callable[[str], str]
    """Make the address of a path and query below `base_url` and its allowed prefix; raises
    SourceError `source_path_refused` for anything that leads elsewhere. Follow no redirects."""


class Folder(Protocol):
    """A folder of the sources file (kind folder); no path leads out of it."""

    def open(self, path: str) -> BinaryIO:
        """Open a regular file for reading; raises SourceError, also when it is too large."""
        ...


class Bucket(Protocol):
    """A part of an object store (kind object-store)."""

    async def fetch(self, key: str, path: Path) -> int:
        """Copy an object into a file; returns its bytes, or raises SourceError."""
        ...
