"""The files of an export: how they are called, written, and counted again."""

from pathlib import Path

import polars as pl
from lineshaft_contracts.job_types import Compression, ExportFormat, ExportParameters

SUFFIXES = {Compression.NONE: "", Compression.GZIP: ".gz", Compression.ZSTD: ".zst"}
MEDIA_TYPES = {
    ExportFormat.CSV: "text/csv; charset=utf-8",
    ExportFormat.PARQUET: "application/vnd.apache.parquet",
    ExportFormat.NDJSON: "application/x-ndjson",
}
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


def write(frame: pl.LazyFrame, path: Path, parameters: ExportParameters) -> None:
    """Write a file in a streaming way, in the order of the rows."""
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


def count(path: Path, parameters: ExportParameters) -> int:
    """Count the rows that a reader finds in a finished file."""
    match parameters.format:
        case ExportFormat.CSV:
            frame = pl.scan_csv(
                path,
                has_header=parameters.header,
                separator=parameters.delimiter,
                infer_schema=False,
                glob=False,
            )
        case ExportFormat.NDJSON:
            frame = pl.scan_lines(path, glob=False)
        case ExportFormat.PARQUET:
            frame = pl.scan_parquet(path, glob=False)
    return int(frame.select(pl.len()).collect(engine="streaming").item())
