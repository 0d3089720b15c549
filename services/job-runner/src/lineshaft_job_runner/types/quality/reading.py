"""Rows of a data source for an analysis: the columns it asks for, and as many as were counted."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from operator import itemgetter
from typing import Any, TypeAlias

from lineshaft_contracts.job_parameters import SourceQuery

from lineshaft_job_runner.job_type import ColumnType, JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

LABEL_CHARACTERS_MAX = 200
NUMBERS = frozenset({ColumnType.DOUBLE, ColumnType.DECIMAL, ColumnType.INTEGER})
WHOLE = frozenset({ColumnType.INTEGER})
TRUTHS = frozenset({ColumnType.BOOLEAN})

Kinds: TypeAlias = frozenset[ColumnType] | None
"""Types that a column may have; None for any."""


def position(columns: Mapping[str, ColumnType], name: str, kinds: Kinds) -> int:
    """Find a column; raises PermanentError when it is missing or of another type."""
    if name not in columns:
        raise PermanentError(
            "column_missing", f"the query has no column {name!r}; it has: {', '.join(columns)}"
        )
    if kinds is not None and columns[name] not in kinds:
        raise PermanentError(
            "column_type_unfit",
            f"column {name!r} is {columns[name]}, but must be one of: {', '.join(sorted(kinds))}",
        )
    return list(columns).index(name)


def label(value: Any) -> str:
    """Write a key as text; raises PermanentError when it is too long to be one."""
    text = str(value)
    if len(text) > LABEL_CHARACTERS_MAX:
        raise PermanentError(
            "label_too_long",
            f"{text[:40]!r}... has {len(text)} characters, at most {LABEL_CHARACTERS_MAX} name "
            "something: choose another column",
        )
    return text


async def read(
    context: JobContext,
    query: SourceQuery,
    wanted: Sequence[tuple[str, Kinds]],
    *,
    what: str,
    rows_max: int,
) -> AsyncGenerator[list[tuple[Any, ...]], None]:
    """Yield batches of rows with the wanted columns (two or more), in their order.

    `what` says in the plural what the rows are. Raises PermanentError for too many of them, and
    when the source gave another number than it counted in the same snapshot.
    """
    async with context.source(query.source) as source:
        expected = await source.count(query.query, query.query_parameters)
        if expected > rows_max:
            raise PermanentError(
                "too_many_values", f"{expected} {what}; {rows_max} can be analysed at once"
            )
        count = 0
        async with source.read(query.query, query.query_parameters) as rows:
            chosen = itemgetter(*(position(rows.columns, name, kinds) for name, kinds in wanted))
            async for batch in rows.batches():
                stop_if_cancelled(context)
                count += len(batch)
                context.progress(count, expected, f"reading {what}")
                yield [chosen(row) for row in batch]
    if count != expected:
        raise PermanentError("rows_differ", f"the source counted {expected} rows but gave {count}")
