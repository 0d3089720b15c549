"""Items as they come: lines of a file, rows of a query, or members of the request."""

import asyncio
import csv
import gzip
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import IO, Any, NoReturn, Protocol

from lineshaft_job_runner.job_type import PermanentError, Rows
from lineshaft_job_runner.types.batching.outcomes import Failure

LINE_BYTES_MAX = 1024**2
CHUNK_BYTES_MAX = 32 * 1024**2
"""A chunk ends early when its lines have more; the same lines make the same chunks."""

Record = tuple[Any, ...] | dict[str, Any]
"""Values in the order of the header, or members by name."""


@dataclass(kw_only=True)
class RecordChunk:
    """Some items in order; `records` has None where a line cannot be read."""

    records: list[Record | None] = field(default_factory=list[Record | None])
    failures: dict[int, Failure] = field(default_factory=dict[int, Failure])
    digest: str = ""
    """SHA-256, hexadecimal, over the content of these items."""

    def add(self, record: Record) -> None:
        """Take an item."""
        self.records.append(record)

    def fail(self, message: str) -> None:
        """Take a line that is no item."""
        self.failures[len(self.records)] = Failure("item_unreadable", message)
        self.records.append(None)


class Records(Protocol):
    """Items of a batch in order."""

    header: tuple[str, ...] | None
    """Names of the values of a tuple; None when items are dictionaries."""
    is_text: bool
    """Whether each value is text, as in CSV; empty text is no value."""

    async def take(self, most: int) -> RecordChunk:
        """Return the next items, none at the end."""
        ...

    def progress(self) -> tuple[int, int]:
        """Say how much was taken, and of how much, in the unit of this kind."""
        ...


class ListedRecords:
    """Items that are in memory."""

    is_text = False

    def __init__(
        self, records: Sequence[Record], *, header: tuple[str, ...] | None = None
    ) -> None:
        self.header = header
        self._records = records
        self._taken = 0

    async def take(self, most: int) -> RecordChunk:
        """See `Records.take`."""
        chunk = listed(self._records[self._taken : self._taken + most])
        self._taken += len(chunk.records)
        return chunk

    def progress(self) -> tuple[int, int]:
        """Count items."""
        return self._taken, len(self._records)


class RowRecords:
    """Items that are the rows of a query, which was counted in the same snapshot."""

    is_text = False

    def __init__(self, rows: Rows, counted: int) -> None:
        self.header: tuple[str, ...] | None = tuple(rows.columns)
        self._batches = rows.batches()
        self._waiting: list[tuple[Any, ...]] = []
        self._counted = counted
        self._taken = 0

    async def take(self, most: int) -> RecordChunk:
        """See `Records.take`."""
        while len(self._waiting) < most:
            batch = await anext(self._batches, None)
            if batch is None:
                break
            self._waiting += batch
        chunk = listed(self._waiting[:most])
        del self._waiting[:most]
        self._taken += len(chunk.records)
        return chunk

    def progress(self) -> tuple[int, int]:
        """Count rows."""
        return self._taken, self._counted


def listed(records: Sequence[Record]) -> RecordChunk:
    """Make a chunk of items that can all be read."""
    content = json.dumps(records, default=repr, sort_keys=True).encode()
    return RecordChunk(records=[*records], digest=hashlib.sha256(content).hexdigest())


class _FileRecords:
    """Items in a file, by lines; counts bytes as they lie on the disk."""

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        self._raw = file
        self._size = size
        packed = name.lower().endswith(".gz")
        self._file = gzip.GzipFile(fileobj=file) if packed else file
        self._kept: list[bytes] = []
        self._bytes = 0
        self.line = 0

    async def take(self, most: int) -> RecordChunk:
        """Read in a thread, so that the database or a service can be waited for meanwhile."""
        return await asyncio.to_thread(self._take, most)

    def _take(self, most: int) -> RecordChunk:
        raise NotImplementedError

    def progress(self) -> tuple[int, int]:
        """Count bytes."""
        return min(self._raw.tell(), self._size), self._size

    def _read_line(self) -> bytes:
        """Return the next line with its end, nothing at the end of the file."""
        try:
            line = self._file.readline(LINE_BYTES_MAX + 1)
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            raise _unreadable(f"the file breaks off after line {self.line}: {error}") from None
        if len(line) > LINE_BYTES_MAX:
            raise _unreadable(f"line {self.line + 1} has more than {LINE_BYTES_MAX} bytes")
        self.line += 1
        self._kept.append(line)
        self._bytes += len(line)
        return line

    @property
    def _is_full(self) -> bool:
        return self._bytes > CHUNK_BYTES_MAX

    def _finish(self, chunk: RecordChunk) -> RecordChunk:
        chunk.digest = hashlib.sha256(b"".join(self._kept)).hexdigest()
        self._kept.clear()
        self._bytes = 0
        return chunk


class JsonLines(_FileRecords):
    """A JSON object on each line; numbers with a point are decimals when they are to be exact."""

    header: tuple[str, ...] | None = None
    is_text = False

    def __init__(self, file: IO[bytes], name: str, size: int, *, exact: bool) -> None:
        super().__init__(file, name, size)
        number = Decimal if exact else float
        self._decode = json.JSONDecoder(parse_float=number, parse_constant=_no_number).raw_decode

    def _take(self, most: int) -> RecordChunk:
        chunk = RecordChunk()
        while len(chunk.records) < most and not self._is_full and (line := self._read_line()):
            try:
                text = line.decode().strip()
                if not text:
                    continue
                item = self._item(text)
            except (ValueError, RecursionError, ArithmeticError) as error:
                chunk.fail(f"line {self.line} is no JSON: {error}")
                continue
            if isinstance(item, dict):
                chunk.add(item)  # pyright: ignore[reportUnknownArgumentType] - a JSON object
            else:
                chunk.fail(f"line {self.line} is no JSON object")
        return self._finish(chunk)

    def _item(self, text: str) -> Any:
        item, end = self._decode(text)
        if end != len(text):
            raise ValueError("something follows the object")
        return item


class CsvLines(_FileRecords):
    """CSV as RFC 4180 has it, UTF-8, with a header; a byte order mark is left out."""

    is_text = True

    def __init__(self, file: IO[bytes], name: str, size: int) -> None:
        super().__init__(file, name, size)
        csv.field_size_limit(LINE_BYTES_MAX)
        self._rows = csv.reader(self._lines(), strict=True)
        try:
            self.header: tuple[str, ...] | None = tuple(next(self._rows, ()))
        except csv.Error as error:
            raise _unreadable(f"the first line is no CSV: {error}") from None
        if not self.header or len(set(self.header)) < len(self.header):
            raise _unreadable("the first line is to name the columns, each once")

    def _take(self, most: int) -> RecordChunk:
        chunk, width = RecordChunk(), len(self.header or ())
        while len(chunk.records) < most and not self._is_full:
            try:
                row = next(self._rows, None)
            except csv.Error as error:
                chunk.fail(f"line {self.line} is no CSV: {error}")
                continue
            if row is None:
                break
            if len(row) == width:
                chunk.add(tuple(row))
            elif row:
                chunk.fail(f"line {self.line} has {len(row)} fields instead of {width}")
        return self._finish(chunk)

    def _lines(self) -> Iterator[str]:
        mark = "\ufeff"
        while line := self._read_line():
            # Bytes that are no text become surrogates, which no column takes.
            yield line.decode("utf-8", "surrogateescape").removeprefix(mark)
            mark = ""


def lines_of(file: IO[bytes], name: str, size: int, *, exact: bool) -> Records:
    """Return the items of an open file; raises PermanentError for an unknown format."""
    plain = name.lower().removesuffix(".gz")
    if plain.endswith((".ndjson", ".jsonl")):
        return JsonLines(file, name, size, exact=exact)
    if plain.endswith(".csv"):
        return CsvLines(file, name, size)
    raise _unreadable(f"{name[:128]!r} does not end in .csv, .ndjson or .jsonl, or that and .gz")


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _unreadable(message: str) -> PermanentError:
    return PermanentError("batch_unreadable", message)
