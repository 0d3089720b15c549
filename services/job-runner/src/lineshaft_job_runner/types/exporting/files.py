"""The files of an export: how they are called, written, and counted again."""

import gzip
from collections.abc import Mapping
from pathlib import Path

import polars as pl
from lineshaft_contracts.job_types import Compression, ExportFormat, ExportParameters

from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.types.exporting import spreadsheet

SUFFIXES = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.NDJSON: "application/x-ndjson",
    ExportFormat.XLSX: "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}
BLOCK_BYTES = 1024**2
PACKED = {Compression.GZIP: "application/gzip", Compression.ZSTD: "application/zstd"}


def name_of(parameters: ExportParameters, number: int | None) -> str:
    """Return the same name at every attempt; `number` counts the files from 1."""
    stem = parameters.file_name + ("" if number is None else f"-{number:05d}")
    packed = "" if parameters.format is ExportFormat.PARQUET else SUFFIXES[parameters.compression]
    return f"{stem}.{parameters.format}{packed}"


def media_type_of(parameters: ExportParameters) -> str:
    """Return the media type; a packed text file is an archive to its reader."""
    plain = MEDIA_TYPES[parameters.format]
    if parameters.format is ExportFormat.PARQUET:
        return plain
    return PACKED.get(parameters.compression, plain)


def write(
    frame: pl.LazyFrame,
    path: Path,
    kinds: Mapping[str, ColumnType],
    parameters: ExportParameters,
) -> None:
    """Write a file in a streaming way, in the order of the rows; `kinds` by label."""
    packing = parameters.compression.value
    outer = "uncompressed" if packing == "none" else packing
    match parameters.format:
        case ExportFormat.CSV:
            frame.sink_csv(
                path,
                compression=outer,
                check_extension=False,
                include_bom=parameters.byte_order_mark,
                include_header=parameters.header,
                separator=parameters.delimiter,
                decimal_comma=parameters.decimal_sign == ",",
                engine="streaming",
            )
        case ExportFormat.NDJSON:
            frame.sink_ndjson(path, compression=outer, check_extension=False, engine="streaming")
        case ExportFormat.PARQUET:
            frame.sink_parquet(path, compression=outer, engine="streaming")
        case ExportFormat.XLSX:
            spreadsheet.write(frame, path, kinds, parameters)


def count(path: Path, parameters: ExportParameters) -> int:
    """Count the rows that a reader finds in a finished file."""
    if parameters.format is ExportFormat.PARQUET:
        return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())
    if parameters.format is ExportFormat.XLSX:
        return spreadsheet.count(path)
    lines = _count_lines(path, parameters)
    headed = parameters.format is ExportFormat.CSV and parameters.header
    return lines - 1 if headed else lines


def _count_lines(path: Path, parameters: ExportParameters) -> int:
    """Count the line ends outside of quotes; JSON escapes those inside of its texts."""
    if parameters.compression is Compression.ZSTD:
        # Python 3.11 cannot unpack it.
        lines = pl.scan_lines(path, glob=False)
        column = pl.col(lines.collect_schema().names()[0])
        quotes = column.str.count_matches('"', literal=True).cum_sum() % 2
        counted = lines if parameters.format is ExportFormat.NDJSON else lines.filter(quotes == 0)
        return int(counted.select(pl.len()).collect(engine="streaming").item())
    opened = gzip.open if parameters.compression is Compression.GZIP else open
    count, quoted = 0, False
    with opened(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            if parameters.format is ExportFormat.NDJSON:
                count += block.count(b"\n")
                continue
            for index, part in enumerate(block.split(b'"')):
                # Every quote that is passed turns the state; a doubled one turns it back.
                quoted ^= index > 0
                count += 0 if quoted else part.count(b"\n")
    return count
