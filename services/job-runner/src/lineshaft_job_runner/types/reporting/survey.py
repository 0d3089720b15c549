"""Reads the queries of a template: counted first, then row by row in short chunks."""

import math
from collections.abc import AsyncGenerator, Mapping, Sequence
from functools import partial

from lineshaft_job_runner.job_type import ColumnType, JobContext, PermanentError, Source
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.reporting.document import Column, Form, Row, Table
from lineshaft_job_runner.types.reporting.template import MadeTable, SavedTable, Template

CHUNK_ROWS = 1_000
NUMBERS = frozenset({ColumnType.INTEGER, ColumnType.DECIMAL, ColumnType.DOUBLE})
KINDS: Mapping[Form, frozenset[ColumnType]] = {
    Form.TEXT: frozenset({ColumnType.TEXT}),
    Form.COUNT: frozenset({ColumnType.INTEGER}),
    Form.MOMENT: frozenset({ColumnType.TIMESTAMP}),
}
"""Column types that a form is made of; numbers for all others."""


class Survey:
    """All queries of one template in one snapshot of its source."""

    def __init__(self, context: JobContext, source: Source, template: Template) -> None:
        self._context = context
        self._source = source
        self._template = template
        self.expected: dict[str, int] = {}
        """Rows by query, as the source counts them."""

    @property
    def total(self) -> int:
        """Rows of all queries."""
        return sum(self.expected.values())

    async def count(self) -> None:
        """Count everything before the first page is drawn; raises when it is too much."""
        for query, table in self._template.queries.items():
            count = await self._source.count(query, self._template.query_parameters())
            if count > table.rows_max:
                raise PermanentError(
                    "report_too_large",
                    f"{query} gives {count} rows and a report shows {table.rows_max} at most: "
                    "choose a shorter time, or use data.export",
                )
            self.expected[query] = count

    async def feed(self, digest: InputDigest) -> None:
        """Give every row to the template; that is half of the way, the other is writing them."""
        done = 0
        for query, table in self._template.queries.items():
            async for rows in self._read(query, table):
                digest.add_rows(rows)
                _check_numbers(query, table.columns, rows)
                for row in rows:
                    self._template.add(query, row)
                done += len(rows)
                self._context.progress(min(done, self.total), 2 * self.total, "reading")

    def tables(self) -> list[Table]:
        """Return the queries as tables, which read the rows again."""
        return [
            Table(
                name=query,
                title=table.title,
                columns=(*table.columns, *table.derived),
                rows_expected=self.expected[query],
                chunks=partial(self._with_derived, query, table),
            )
            for query, table in self._template.queries.items()
        ]

    async def _with_derived(
        self, query: str, table: SavedTable
    ) -> AsyncGenerator[list[Row], None]:
        async for rows in self._read(query, table):
            yield [row + table.derive(row) for row in rows] if table.derived else rows

    async def _read(self, query: str, table: SavedTable) -> AsyncGenerator[list[Row], None]:
        async with self._source.read(query, self._template.query_parameters()) as rows:
            picked = _positions(query, table.columns, rows.columns)
            async for batch in rows.batches():
                for start in range(0, len(batch), CHUNK_ROWS):
                    stop_if_cancelled(self._context)
                    chunk = batch[start : start + CHUNK_ROWS]
                    yield [tuple(row[index] for index in picked) for row in chunk]


def made(table: MadeTable) -> Table:
    """Return rows that are in memory like those of a query."""

    async def chunks() -> AsyncGenerator[list[Row], None]:
        yield list(table.rows)

    return Table(
        name=table.name,
        title=table.title,
        columns=table.columns,
        rows_expected=len(table.rows),
        chunks=chunks,
    )


def _check_numbers(query: str, columns: Sequence[Column], rows: Sequence[Row]) -> None:
    """Refuse NaN and infinities, with which no sum and no chart can be made."""
    for index, column in enumerate(columns):
        if column.form not in {Form.AMOUNT, Form.MEASURE}:
            continue
        for row in rows:
            if row[index] is not None and not math.isfinite(row[index]):
                raise PermanentError(
                    "value_unfit",
                    f"column {column.name!r} of saved query {query!r} holds {row[index]}: "
                    "let the query give NULL for what is not a number",
                )


def _positions(
    query: str, columns: Sequence[Column], given: Mapping[str, ColumnType]
) -> list[int]:
    missing = [column.name for column in columns if column.name not in given]
    if missing:
        raise PermanentError(
            "report_columns_missing",
            f"saved query {query!r} has no column {', '.join(missing)}: the report needs "
            f"{', '.join(column.name for column in columns)}",
        )
    for column in columns:
        kinds = KINDS.get(column.form, NUMBERS)
        if given[column.name] not in kinds:
            raise PermanentError(
                "report_column_unfit",
                f"column {column.name!r} of saved query {query!r} is {given[column.name]}: "
                f"declare it as {' or '.join(sorted(kinds))}",
            )
    order = list(given)
    return [order.index(column.name) for column in columns]
