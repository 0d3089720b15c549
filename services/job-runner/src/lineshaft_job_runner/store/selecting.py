"""Statements that read rows of an entity: our own, from what the sources file declares."""

from collections.abc import Mapping
from typing import Any

from lineshaft_job_runner.job_data import Comparison, Filter, Selection
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.source_tables import EntityEntry, SavedQuery
from lineshaft_job_runner.source_values import EXPECTED, typed
from lineshaft_job_runner.sources import SourceEntry, SourceError

ONE_OF_MAX = 1_000
FILTERS_MAX = 32

SQL_TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.DECIMAL: "numeric",
    ColumnType.DOUBLE: "double precision",
    ColumnType.TIMESTAMP: "timestamptz",
    ColumnType.DATE: "date",
    ColumnType.BOOLEAN: "boolean",
}
"""Each takes every value that a column of its kind can hold."""
_OPERATORS: Mapping[Comparison, str] = {
    Comparison.EQUAL: "=",
    Comparison.NOT_EQUAL: "<>",
    Comparison.LESS: "<",
    Comparison.AT_MOST: "<=",
    Comparison.GREATER: ">",
    Comparison.AT_LEAST: ">=",
}


def bound(
    entry: SourceEntry, query: str | Selection, parameters: Mapping[str, Any]
) -> tuple[SavedQuery, tuple[Any, ...]]:
    """Return the statement that is asked for, and its typed arguments; or raise SourceError."""
    if isinstance(query, Selection):
        return select(entry.entity(query.entity), query)
    saved = entry.query(query)
    return saved, saved.bind(parameters)


def select(entity: EntityEntry, selection: Selection) -> tuple[SavedQuery, tuple[Any, ...]]:
    """Write the statement for some rows, in the order of the key, and its arguments."""
    columns = entity.choose(selection.columns)
    if len(selection.filters) > FILTERS_MAX:
        raise SourceError("source_filter_invalid", f"at most {FILTERS_MAX} filters are taken")
    arguments: list[Any] = []
    conditions = [_condition(entity, one, arguments) for one in selection.filters]
    shown = ", ".join(
        f"t.{quoted(name)}{'::text' if kind is ColumnType.TEXT else ''} AS {quoted(name)}"
        for name, kind in columns.items()
    )
    # Names are declared in the operator's file, and quoted; values are arguments.
    sql = f"SELECT {shown} FROM {relation(selection.entity, entity)} AS t"  # noqa: S608
    if conditions:
        sql += " WHERE " + " AND ".join(conditions)
    sql += " ORDER BY " + ", ".join(f"t.{quoted(name)}" for name in entity.key)
    return SavedQuery(sql=sql, columns=columns), tuple(arguments)


def relation(name: str, entity: EntityEntry) -> str:
    """Return the quoted name of an entity's table."""
    return qualified(entity.table or name)


def qualified(table: str) -> str:
    """Quote a table, or schema.table."""
    return ".".join(quoted(part) for part in table.split("."))


def quoted(name: str) -> str:
    """Quote an identifier."""
    return '"' + name.replace('"', '""') + '"'


def _condition(entity: EntityEntry, given: Filter, arguments: list[Any]) -> str:
    kind = entity.choose([given.column])[given.column]
    column = f"t.{quoted(given.column)}" + ("::text" if kind is ColumnType.TEXT else "")
    if given.comparison is Comparison.MISSING:
        if not isinstance(given.value, bool):
            raise _filter_error(given, "true or false")
        return f"{column} IS {'' if given.value else 'NOT '}NULL"
    try:
        if given.comparison is Comparison.ONE_OF:
            arguments.append([typed(kind, one) for one in _listed(given)])
            return f"{column} = ANY(${len(arguments)}::{SQL_TYPES[kind]}[])"
        arguments.append(typed(kind, given.value))
    except ValueError:
        raise _filter_error(given, EXPECTED[kind]) from None
    return f"{column} {_OPERATORS[given.comparison]} ${len(arguments)}::{SQL_TYPES[kind]}"


def _listed(given: Filter) -> list[Any]:
    values: Any = given.value
    listed: list[Any] = [*values] if isinstance(values, list | tuple) else []
    if not isinstance(values, list | tuple) or len(listed) > ONE_OF_MAX:
        raise _filter_error(given, f"a list of at most {ONE_OF_MAX} values")
    return listed


def _filter_error(given: Filter, expected: str) -> SourceError:
    return SourceError(
        "source_filter_invalid",
        f"the filter {given.comparison} on column {given.column!r} takes {expected}",
    )
