"""The run of data.export: rows to a spool, the spool to files, and every file counted."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.job_types import ExportFormat, ExportParameters, ExportResult

from lineshaft_job_runner.job_type import ColumnType, JobContext, PermanentError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.exporting import files
from lineshaft_job_runner.types.exporting.cells import ROWS_MAX
from lineshaft_job_runner.types.exporting.copying import Copying
from lineshaft_job_runner.types.exporting.shaping import labels_of, shape
from lineshaft_job_runner.types.exporting.spool import Spool
from lineshaft_job_runner.types.input_digest import InputDigest

FILES_MAX = 1_000


async def run(context: JobContext, parameters: ExportParameters) -> ExportResult:
    """Write the files; the job fails unless they hold exactly the rows that were counted."""
    digest = InputDigest(parameters)
    with TemporaryDirectory(prefix="lineshaft-export-") as folder:
        async with context.source(parameters.source) as source:
            expected = await source.count(parameters.query, parameters.query_parameters)
            _check_files(expected, parameters)
            if parameters.dry_run:
                return _result(context, digest, expected, 0, ())
            copying = Copying(context, Path(folder), expected)
            spool = await copying.fill(source, parameters, digest)
        _check_rows("the source gave", spool.rows, expected)
        labels = tuple(labels_of(spool, parameters))
        written = await _write_files(context, spool, labels, parameters)
    _check_rows("the files hold", written, expected)
    return _result(context, digest, expected, written, labels)


async def _write_files(
    context: JobContext, spool: Spool, labels: tuple[str, ...], parameters: ExportParameters
) -> int:
    written, size = 0, parameters.rows_per_file
    kinds = dict(zip(labels, spool.columns.values(), strict=True))
    length = size or max(spool.rows, 1)
    for number, offset in enumerate(range(0, max(spool.rows, 1), length), start=1):
        stop_if_cancelled(context)
        name = files.name_of(parameters, number if size else None)
        frame = shape(spool, spool.slice(offset, length), labels, parameters)
        async with context.artifact(name, media_type=files.media_type_of(parameters)) as file:
            file.rows = await asyncio.to_thread(_write, frame, file.path, kinds, parameters)
        written += file.rows
        context.progress(spool.rows + written, 2 * spool.rows, f"wrote {name}")
    return written


def _write(
    frame: pl.LazyFrame,
    path: Path,
    kinds: Mapping[str, ColumnType],
    parameters: ExportParameters,
) -> int:
    try:
        files.write(frame, path, kinds, parameters)
    except (pl.exceptions.InvalidOperationError, pl.exceptions.ComputeError) as error:
        raise PermanentError(
            "value_unfit", f"a value does not fit the format {parameters.format}: {error}"
        ) from error
    return files.count(path, parameters)


def _result(
    context: JobContext,
    digest: InputDigest,
    expected: int,
    written: int,
    labels: tuple[str, ...],
) -> ExportResult:
    return ExportResult(
        counts=Counts(requested=expected, ok=written, skipped=expected - written),
        artifacts=context.artifacts(),
        engine=Engine(name="polars", version=pl.__version__),
        input_digest=digest.hexadecimal(),
        rows_expected=expected,
        rows_written=written,
        columns=labels,
    )


def _check_rows(what: str, actual: int, expected: int) -> None:
    if actual != expected:
        raise PermanentError(
            "rows_differ", f"the source counted {expected} rows but {what} {actual}"
        )


def _check_files(expected: int, parameters: ExportParameters) -> None:
    size = parameters.rows_per_file
    if parameters.format is ExportFormat.XLSX and min(size or expected, expected) > ROWS_MAX:
        raise PermanentError(
            "too_many_rows",
            f"a spreadsheet holds {ROWS_MAX} rows, not {expected}: set rows_per_file to that or "
            "less, or take another format",
        )
    if size is not None and expected > size * FILES_MAX:
        raise PermanentError(
            "too_many_files",
            f"{expected} rows make more than {FILES_MAX} files: raise rows_per_file",
        )
