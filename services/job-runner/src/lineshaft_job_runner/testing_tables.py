"""Data sources in memory, for tests of job types."""

import operator
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

from lineshaft_job_runner.job_data import Comparison, Filter, Selection
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.source_values import typed
from lineshaft_job_runner.sources import SavedQuery, SourceError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

COMPARED: Mapping[Comparison, Callable[[Any, Any], bool]] = {
    Comparison.EQUAL: operator.eq,
    Comparison.NOT_EQUAL: operator.ne,
    Comparison.LESS: operator.lt,
    Comparison.AT_MOST: operator.le,
    Comparison.GREATER: operator.gt,
    Comparison.AT_LEAST: operator.ge,
}


@dataclass(frozen=True, kw_only=True)
class Table:
    """A saved query whose answer is known."""

    columns: Mapping[str, ColumnType]
    rows: Sequence[tuple[Any, ...]]
    parameters: Mapping[str, ColumnType] = field(default_factory=dict[str, ColumnType])
    counted: int | None = None
    """What `count` claims, to test what happens when it is wrong; the truth when absent."""


class TableRows:
    """Rows of a table in batches."""

    def __init__(self, table: Table, batch_rows: int) -> None:
        self._table = table
        self._batch_rows = batch_rows

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._table.columns

    async def batches(self) -> AsyncIterator[list[tuple[Any, ...]]]:
        """Iterate over slices of the table."""
        for start in range(0, len(self._table.rows), self._batch_rows):
            yield list(self._table.rows[start : start + self._batch_rows])


class TableCopy:
    """Rows of a table as CSV, in blocks."""

    def __init__(self, table: Table, columns: Sequence[str], batch_rows: int) -> None:
        self._table = table
        self._batch_rows = batch_rows
        self._chosen = SavedQuery(sql="-", columns=dict(table.columns)).choose(columns)

    @property
    def columns(self) -> Mapping[str, ColumnType]:
        """Name and type of each column, in order."""
        return self._chosen

    async def send_to(self, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Hand over blocks of whole rows."""
        picked = [list(self._table.columns).index(name) for name in self._chosen]
        for start in range(0, len(self._table.rows), self._batch_rows):
            batch = self._table.rows[start : start + self._batch_rows]
            lines = [",".join(_field(row[index]) for index in picked) + "\n" for row in batch]
            await write("".join(lines).encode())


class TableSource:
    """A data source in memory that checks parameters like a real one."""

    def __init__(self, tables: Mapping[str, Table], *, batch_rows: int = 1_000) -> None:
        self._tables = tables
        self._batch_rows = batch_rows

    async def count(self, query: str | Selection, parameters: Mapping[str, Any]) -> int:
        """Count the rows that `read` gives."""
        table = self._find(query, parameters)
        return len(table.rows) if table.counted is None else table.counted

    @asynccontextmanager
    async def read(
        self, query: str | Selection, parameters: Mapping[str, Any]
    ) -> AsyncGenerator[TableRows]:
        """Give the rows of a table; the parameters are checked, but select nothing."""
        yield TableRows(self._find(query, parameters), self._batch_rows)

    @asynccontextmanager
    async def copy(
        self,
        query: str | Selection,
        parameters: Mapping[str, Any],
        *,
        columns: Sequence[str] = (),
    ) -> AsyncGenerator[TableCopy]:
        """Give the chosen columns of a table as CSV."""
        yield TableCopy(self._find(query, parameters), columns, self._batch_rows)

    def _find(self, query: str | Selection, parameters: Mapping[str, Any]) -> Table:
        name = query if isinstance(query, str) else query.entity
        if name not in self._tables:
            raise SourceError("source_query_unknown", f"no saved query or entity {name!r}")
        table = self._tables[name]
        saved = SavedQuery(sql="-", parameters=dict(table.parameters), columns=dict(table.columns))
        saved.bind(parameters)
        return table if isinstance(query, str) else _selected(table, query, saved)


def _selected(table: Table, selection: Selection, saved: SavedQuery) -> Table:
    names = list(table.columns)
    kept = [
        row
        for row in table.rows
        if all(_fits(row[names.index(f.column)], f, table) for f in selection.filters)
    ]
    chosen = saved.choose(selection.columns)
    rows = [tuple(row[names.index(name)] for name in chosen) for row in kept]
    return Table(columns=chosen, rows=rows)


def _fits(value: Any, given: Filter, table: Table) -> bool:
    kind = table.columns[given.column]
    if given.comparison is Comparison.MISSING:
        return (value is None) is given.value
    if value is None:
        return False
    if given.comparison is Comparison.ONE_OF:
        return value in [typed(kind, one) for one in given.value]
    return COMPARED[given.comparison](value, typed(kind, given.value))


def _field(value: Any) -> str:
    match value:
        case None:
            text = ""
        case str():
            text = '"' + value.replace('"', '""') + '"'
        case bool():
            text = str(int(value))
        case datetime():
            text = str((value - EPOCH) // timedelta(microseconds=1))
        case date():
            text = str((value - EPOCH.date()).days)
        case Decimal():
            text = f"{value:f}"
        case _:
            text = str(value)
    return text
