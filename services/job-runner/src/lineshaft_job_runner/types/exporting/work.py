"""The run of data.export: rows to a spool, the spool to files, and every file counted."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.job_types import ExportParameters, ExportResult

from lineshaft_job_runner.job_type import ColumnType, JobContext, PermanentError, Rows, Source
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.exporting import files
from lineshaft_job_runner.types.exporting.shaping import labels_of, shape
from lineshaft_job_runner.types.exporting.spool import Spool
from lineshaft_job_runner.types.input_digest import InputDigest

FILES_MAX = 1_000


async def run(context: JobContext, parameters: ExportParameters) -> ExportResult:
    """Write the files; the job fails unless they hold exactly the rows that were counted."""
    digest = InputDigest(parameters)
    with TemporaryDirectory(prefix="lineshaft-export-") as folder:
        async with context.source(parameters.source) as source:
            spool, expected = await _fill(context, source, parameters, Path(folder), digest)
        labels = labels_of(spool, parameters)
        written = 0
        if not parameters.dry_run:
            written = await _write_files(context, spool, labels, parameters)
            _check_rows("the files hold", written, expected)
    return ExportResult(
        counts=Counts(requested=expected, ok=written, skipped=expected - written),
        artifacts=context.artifacts(),
        engine=Engine(name="polars", version=pl.__version__),
        input_digest=digest.hexadecimal(),
        rows_expected=expected,
        rows_written=written,
        columns=tuple(labels),
    )


async def _fill(
    context: JobContext,
    source: Source,
    parameters: ExportParameters,
    folder: Path,
    digest: InputDigest,
) -> tuple[Spool, int]:
    expected = await source.count(parameters.query, parameters.query_parameters)
    _check_files(expected, parameters)
    async with source.read(parameters.query, parameters.query_parameters) as rows:
        columns = _chosen(rows, parameters)
        spool = Spool(
            folder,
            columns,
            rows_per_file=parameters.rows_per_file,
            non_finite=parameters.non_finite,
            digest=digest,
        )
        if parameters.dry_run:
            return spool, expected
        given = list(rows.columns)
        picked = [given.index(name) for name in columns]
        everything = picked == list(range(len(given)))
        async for batch in rows.batches():
            stop_if_cancelled(context)
            chosen = batch if everything else [tuple(row[at] for at in picked) for row in batch]
            await asyncio.to_thread(spool.add, chosen)
            context.progress(spool.rows, 2 * expected, "reading rows")
    await asyncio.to_thread(spool.flush)
    _check_rows("the source gave", spool.rows, expected)
    return spool, expected


async def _write_files(
    context: JobContext, spool: Spool, labels: list[str], parameters: ExportParameters
) -> int:
    written, split = 0, parameters.rows_per_file is not None
    for number, part in enumerate(spool.parts, start=1):
        stop_if_cancelled(context)
        name = files.name_of(parameters, number if split else None)
        frame = shape(spool, part, labels, parameters)
        async with context.artifact(name, media_type=files.media_type_of(parameters)) as file:
            file.rows = await asyncio.to_thread(_write, frame, file.path, parameters)
        written += file.rows
        context.progress(spool.rows + written, 2 * spool.rows, f"wrote {name}")
    return written


def _write(frame: pl.LazyFrame, path: Path, parameters: ExportParameters) -> int:
    try:
        files.write(frame, path, parameters)
    except (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError) as error:
        raise PermanentError(
            "value_unfit", f"a value does not fit the format {parameters.format}: {error}"
        ) from error
    return files.count(path, parameters)


def _chosen(rows: Rows, parameters: ExportParameters) -> Mapping[str, ColumnType]:
    if not parameters.columns:
        return rows.columns
    for column in parameters.columns:
        if column.name not in rows.columns:
            raise PermanentError(
                "column_missing",
                f"the query has no column {column.name!r}; it has: {', '.join(rows.columns)}",
            )
    return {column.name: rows.columns[column.name] for column in parameters.columns}


def _check_rows(what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise PermanentError(
            "rows_differ", f"the source counted {expected} rows but {what} {actual}"
        )


def _check_files(expected: int, parameters: ExportParameters) -> None:
    size = parameters.rows_per_file
    if size is not None and expected > size * FILES_MAX:
        raise PermanentError(
            "too_many_files",
            f"{expected} rows make more than {FILES_MAX} files: raise rows_per_file",
        )
