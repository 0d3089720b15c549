"""Opens the items of a batch, wherever they are."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

from lineshaft_contracts.batches import BatchParameters, StoredItems
from lineshaft_contracts.job_parameters import SourceQuery

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.batching.records import (
    ListedRecords,
    Record,
    Records,
    RowRecords,
    lines_of,
)

WRONG_KIND = "source_kind_wrong"


@asynccontextmanager
async def open_records(
    context: JobContext, parameters: BatchParameters
) -> AsyncGenerator[Records]:
    """Open the place that the request names."""
    exact = parameters.table is not None
    if parameters.items is not None:
        yield ListedRecords(cast("tuple[Record, ...]", parameters.items))
    elif parameters.query is not None:
        async with _rows(context, parameters.query) as records:
            yield records
    elif parameters.artifact is not None:
        given = parameters.artifact
        with TemporaryDirectory(prefix="lineshaft-batch-") as folder:
            path = Path(folder) / "items"
            await context.fetch_artifact(given.job_id, given.name, path)
            with path.open("rb") as file:
                yield lines_of(file, given.name, path.stat().st_size, exact=exact)
    elif parameters.file is not None:
        async with _stored(context, parameters.file, exact=exact) as records:
            yield records
    else:  # The parameters' own check says that there is one.
        raise PermanentError("batch_unreadable", "the batch has no items")


@asynccontextmanager
async def _rows(context: JobContext, query: SourceQuery) -> AsyncGenerator[Records]:
    async with context.source(query.source) as source:
        counted = await source.count(query.query, query.query_parameters)
        async with source.read(query.query, query.query_parameters) as rows:
            yield RowRecords(rows, counted)


@asynccontextmanager
async def _stored(
    context: JobContext, stored: StoredItems, *, exact: bool
) -> AsyncGenerator[Records]:
    try:
        folder = context.folder(stored.source)
    except PermanentError as error:
        if error.code != WRONG_KIND:
            raise
        async with _fetched(context, stored, exact=exact) as records:
            yield records
        return
    with folder.open(stored.path) as file:
        size = file.seek(0, 2)
        file.seek(0)
        yield lines_of(file, stored.path, size, exact=exact)


@asynccontextmanager
async def _fetched(
    context: JobContext, stored: StoredItems, *, exact: bool
) -> AsyncGenerator[Records]:
    bucket = context.bucket(stored.source)
    with TemporaryDirectory(prefix="lineshaft-batch-") as folder:
        path = Path(folder) / "items"
        size = await bucket.fetch(stored.path, path)
        with path.open("rb") as file:
            yield lines_of(file, stored.path, size, exact=exact)
