"""Reads a source: a file, the pages of a REST resource, or a saved query."""

import asyncio
import io
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO

import polars as pl
from lineshaft_contracts.inventory_sources import (
    ChangesOnly,
    StockFile,
    StockPages,
    StockQuery,
)
from lineshaft_contracts.inventory_sync import InventorySyncParameters

from lineshaft_job_runner.job_data import ColumnType, Selection, Source
from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.inventory.paging import Record, objects_at, parse, read_pages
from lineshaft_job_runner.types.inventory.quantities import MOMENT
from lineshaft_job_runner.types.inventory.requesting import Requester, connected
from lineshaft_job_runner.types.inventory.stating import (
    from_records,
    from_table,
    nothing_stated,
    spelled,
)

ROWS_MAX = 2_000_000
"""What fits, with everything that is made of it, into the memory of the type."""


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What a source states."""

    stated: pl.DataFrame
    """Columns STATED, in the order of the source."""
    whole: bool
    """Whether it is everything that the source has, so that what is absent is absent."""


async def gather(
    context: JobContext,
    parameters: InventorySyncParameters,
    digest: InputDigest,
    *,
    cursor: datetime | None,
) -> Gathered:
    """Read the source of the parameters; `cursor` is where the last run ended."""
    match parameters.source:
        case StockFile() as file:
            stated = await asyncio.to_thread(_from_file, context, file, digest)
            whole = True
        case StockPages() as pages:
            stated = await _from_pages(context, pages, digest, _since(pages.changes, cursor))
            whole = pages.changes is None
        case StockQuery() as query:
            stated = await _from_query(context, query, digest, _since(query.changes, cursor))
            whole = query.changes is None
    if stated.height > ROWS_MAX:
        raise PermanentError(
            "source_rows_limit", f"the source has {stated.height} rows, at most {ROWS_MAX} fit"
        )
    return Gathered(stated=stated, whole=whole)


def _since(changes: ChangesOnly | None, cursor: datetime | None) -> dict[str, str]:
    if changes is None:
        return {}
    start = changes.start
    if cursor is not None:
        start = max(start, cursor - timedelta(seconds=changes.overlap_seconds))
    text = start.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return {changes.parameter: text}


def _cursor_column(changes: ChangesOnly | None) -> str | None:
    return None if changes is None else changes.column


def _from_file(context: JobContext, file: StockFile, digest: InputDigest) -> pl.DataFrame:
    with context.folder(file.source).open(file.path) as opened:
        text = _decoded(opened, file)
    digest.add_bytes(text.encode())
    match file.format:
        case "csv":
            return from_table(_csv(text, file), file.columns, None)
        case "json":
            return from_records(objects_at(parse(text.encode()), file.items), file.columns, None)
        case "ndjson":
            lines = [line for line in text.splitlines() if line.strip()]
            records: list[Record] = [
                record for line in lines for record in objects_at([parse(line.encode())], None)
            ]
            return from_records(records, file.columns, None)


def _decoded(opened: BinaryIO, file: StockFile) -> str:
    encoding = "utf-8-sig" if file.encoding == "utf-8" else file.encoding
    try:
        return opened.read().decode(encoding)
    except UnicodeDecodeError as error:
        raise PermanentError(
            "file_unreadable",
            f"{file.path!r} is not {file.encoding} at byte {error.start}: set `encoding`",
        ) from None


def _csv(text: str, file: StockFile) -> pl.DataFrame:
    try:
        table = pl.read_csv(
            io.BytesIO(text.encode()), separator=file.delimiter, infer_schema=False
        )
    except pl.exceptions.NoDataError:
        raise PermanentError(
            "file_empty", f"{file.path!r} is empty: without a header it may be half a file"
        ) from None
    except pl.exceptions.PolarsError as error:
        raise PermanentError("file_unreadable", f"{file.path!r} is no CSV: {error}") from None
    if file.decimal_sign == ",":
        names = [n for n in (file.columns.quantity, file.columns.reserved) if n in table.columns]
        # A point would group thousands: with it the number is none of ours, and is refused.
        swapped = pl.col(names).str.replace_all(".", "?", literal=True)
        table = table.with_columns(swapped.str.replace_all(",", ".", literal=True))
    return table


async def _from_pages(
    context: JobContext, pages: StockPages, digest: InputDigest, since: Mapping[str, str]
) -> pl.DataFrame:
    endpoint = context.endpoint(pages.source)
    frames = [nothing_stated()]
    rows = 0
    async with connected(endpoint) as http:
        requester = Requester(
            http,
            endpoint,
            context,
            source=pages.source,
            attempts_max=pages.attempts_max,
            retry_after_seconds_max=pages.retry_after_seconds_max,
        )
        async for body, records in read_pages(requester, pages, {**pages.query, **since}):
            digest.add_bytes(body)
            frames.append(from_records(records, pages.columns, _cursor_column(pages.changes)))
            rows += len(records)
            if rows > ROWS_MAX:
                break
            context.progress(0, 100, f"read {rows} rows of {len(frames) - 1} pages")
    return pl.concat(frames)


async def _from_query(
    context: JobContext, query: StockQuery, digest: InputDigest, since: Mapping[str, str]
) -> pl.DataFrame:
    cursor = _cursor_column(query.changes)
    async with context.source(query.source) as source:
        names = list(dict.fromkeys(spelled(query.columns, cursor).values()))
        table = await copied(
            context,
            source,
            query.query,
            {**query.query_parameters, **since},
            names=names,
            digest=digest,
        )
    return from_table(table, query.columns, cursor)


async def copied(
    context: JobContext,
    source: Source,
    query: str | Selection,
    parameters: Mapping[str, object],
    *,
    names: list[str],
    digest: InputDigest | None,
) -> pl.DataFrame:
    """Read columns of a saved query or an entity; numbers stay text, times are instants."""
    blocks: list[bytes] = []

    async def write(block: bytes) -> None:
        stop_if_cancelled(context)
        blocks.append(block)
        if digest is not None:
            digest.add_bytes(block)

    async with source.copy(query, parameters, columns=names) as copy:
        kinds = dict(copy.columns)
        await copy.send_to(write)
    return table_of(b"".join(blocks), kinds)


def table_of(content: bytes, kinds: Mapping[str, ColumnType]) -> pl.DataFrame:
    """Parse CSV in the form of `Copy`."""
    times = [name for name, kind in kinds.items() if kind is ColumnType.TIMESTAMP]
    if not content:
        return pl.DataFrame(
            schema={name: MOMENT if name in times else pl.String for name in kinds}
        )
    schema = {name: pl.Int64() if name in times else pl.String() for name in kinds}
    table = pl.read_csv(io.BytesIO(content), has_header=False, schema=schema)
    return table.with_columns(pl.col(times).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
