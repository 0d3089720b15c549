"""The plan from saved queries: rows become the same values that a request can hold."""

from collections.abc import Mapping

from lineshaft_contracts.scheduling import PlanQueries
from lineshaft_contracts.scheduling_plan import Plan
from pydantic import ValidationError

from lineshaft_job_runner.job_type import ColumnType, JobContext, PermanentError, Source
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.scheduling.rows import COLUMNS, Row, assemble

ROWS_MAX = 100_000
FINDINGS_MAX = 10


async def read_plan(context: JobContext, queries: PlanQueries, digest: InputDigest) -> Plan:
    """Read every query in one snapshot, and check what they say together."""
    tables: dict[str, list[Row]] = {}
    async with context.source(queries.source) as source:
        reader = _Reader(context, source, queries, digest)
        for table in COLUMNS:
            query: str | None = getattr(queries, table)
            if query is not None:
                context.progress(len(tables), 1_000, f"reading {table}")
                tables[table] = await reader.read(table, query)
    try:
        return Plan.model_validate(assemble(tables))
    except ValidationError as error:
        raise PermanentError("plan_invalid", _findings(error)) from None


class _Reader:
    def __init__(
        self, context: JobContext, source: Source, queries: PlanQueries, digest: InputDigest
    ) -> None:
        self._context = context
        self._source = source
        self._parameters = queries.query_parameters
        self._digest = digest

    async def read(self, table: str, query: str) -> list[Row]:
        parameters = self._parameters.get(query, {})
        expected = await self._source.count(query, parameters)
        if expected > ROWS_MAX:
            raise PermanentError(
                "too_many_rows", f"{query} has {expected} rows; {ROWS_MAX} can be read"
            )
        found: list[Row] = []
        async with self._source.read(query, parameters) as rows:
            _check_columns(table, query, rows.columns)
            names = tuple(rows.columns)
            async for batch in rows.batches():
                stop_if_cancelled(self._context)
                self._digest.add_rows(batch)
                found += [dict(zip(names, row, strict=True)) for row in batch]
        if len(found) != expected:
            raise PermanentError(
                "rows_differ", f"{query} counted {expected} rows but gave {len(found)}"
            )
        _check_values(table, query, found)
        return found


def _check_values(table: str, query: str, rows: list[Row]) -> None:
    for number, row in enumerate(rows, start=1):
        for name in COLUMNS[table][0]:
            if row[name] is None:
                raise PermanentError(
                    "value_missing", f"row {number} of query {query!r} has no {name}"
                )


def _check_columns(table: str, query: str, columns: Mapping[str, ColumnType]) -> None:
    required, optional = COLUMNS[table]
    missing = [name for name in required if name not in columns]
    unknown = [name for name in columns if name not in required and name not in optional]
    if missing or unknown:
        problems = [f"lacks {name!r}" for name in missing]
        problems += [f"has {name!r}, which is not used" for name in unknown]
        raise PermanentError(
            "columns_unfit",
            f"query {query!r} {'; '.join(problems)}: the {table} have "
            f"{', '.join(required)}, and may have {', '.join(optional) or 'nothing else'}",
        )


def _findings(error: ValidationError) -> str:
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    told = [
        f"{'/'.join(map(str, one['loc'])) or 'plan'}: {one['msg']}"
        for one in errors[:FINDINGS_MAX]
    ]
    more = f"; and {len(errors) - FINDINGS_MAX} more" if len(errors) > FINDINGS_MAX else ""
    return "; ".join(told) + more
