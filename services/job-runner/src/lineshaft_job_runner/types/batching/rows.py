"""Items become typed rows of an entity, or failures that say what to correct."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any

from lineshaft_contracts.batches import BatchOperation, TableChange

from lineshaft_job_runner.job_data import Entity
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.source_values import EXPECTED, READERS
from lineshaft_job_runner.types.batching.columns import TEXT_CHARACTERS_MAX, typed_column
from lineshaft_job_runner.types.batching.outcomes import Failure, ItemError
from lineshaft_job_runner.types.batching.records import Record, RecordChunk, Records

TRUE = frozenset({"true", "t", "1"})
FALSE = frozenset({"false", "f", "0"})

Convert = Callable[[Any], Any]


@dataclass(kw_only=True)
class RowChunk:
    """Typed rows of some items, and the items that are none."""

    rows: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    places: list[int] = field(default_factory=list[int])
    """For each row, the place of its item in the chunk."""
    keys: list[tuple[Any, ...]] = field(default_factory=list[tuple[Any, ...]])
    """For each item, the values of its key; None for what cannot be read."""
    failures: dict[int, Failure] = field(default_factory=dict[int, Failure])
    digest: str


class Shape:
    """How the items of one batch become rows: which columns, from which fields."""

    def __init__(self, entity: Entity, change: TableChange, records: Records) -> None:
        self._entity = entity
        self._change = change
        self._is_text = records.is_text
        self._header = records.header
        self._seen: set[Any] = set()
        self._add = frozenset(change.add)
        self.columns: tuple[str, ...] = ()
        self._fields: tuple[str, ...] = ()
        self._picked: tuple[int, ...] = ()
        self._converts: tuple[Convert, ...] = ()
        self._kinds: tuple[ColumnType, ...] = ()
        self._key_at: tuple[int, ...] = ()
        if records.header is not None:
            self._settle(records.header)

    def convert(self, chunk: RecordChunk) -> RowChunk:
        """Convert the items of a chunk; a key that came before in the batch is a failure."""
        if (whole := self._whole(chunk)) is not None:
            return whole
        made = RowChunk(digest=chunk.digest, failures=dict(chunk.failures))
        nobody = (None,) * len(self._entity.key)
        for place, record in enumerate(chunk.records):
            if record is None:
                made.keys.append(nobody)
                continue
            if not self.columns:
                self._settle(tuple(record) if isinstance(record, dict) else ())
            try:
                row = self._row(record)
                key = self._key(row)
            except ItemError as error:
                made.failures[place] = error.failure
                made.keys.append(nobody)
                continue
            made.keys.append(key)
            made.rows.append(row)
            made.places.append(place)
        return made

    def _whole(self, chunk: RecordChunk) -> RowChunk | None:
        """Convert a chunk by columns; None when any item has a fault, or is the first of all."""
        if chunk.failures or not chunk.records or not self.columns:
            return None
        try:
            columns = self._columns(chunk.records)
        except (ValueError, KeyError, TypeError, InvalidOperation, OverflowError):
            return None
        of_key = [columns[at] for at in self._key_at]
        keys = list(zip(*of_key, strict=True))
        if len(set(keys)) < len(keys) or not self._seen.isdisjoint(keys):
            return None
        if any(type(None) in set(map(type, column)) for column in of_key):
            return None
        self._seen.update(keys)
        rows = list(zip(*columns, strict=True))
        return RowChunk(rows=rows, places=list(range(len(rows))), keys=keys, digest=chunk.digest)

    def _columns(self, records: Sequence[Any]) -> list[Sequence[Any]]:
        """Return typed columns; raises when any value of any item does not fit."""
        if self._header is not None:
            given: list[Sequence[Any]] = list(zip(*records, strict=True))
            given = [given[at] for at in self._picked]
            if self._is_text:
                given = [[v or None for v in one] if "" in one else one for one in given]
        else:
            if self._is_closed and max(map(len, records)) > len(self._fields):
                raise ValueError
            given = [[record[name] for record in records] for name in self._fields]
        for name in self._add:
            if None in given[self.columns.index(name)]:
                raise ValueError
        return [
            typed_column(self._kinds[at], column, self._converts[at])
            for at, column in enumerate(given)
        ]

    def _settle(self, fields: Sequence[str]) -> None:
        """Choose the columns: those of the request, else those that the items have."""
        change, entity = self._change, self._entity
        renamed = {name: column for column, name in change.fields.items()}
        given = change.columns or tuple(renamed.get(name, name) for name in fields)
        if change.operation is BatchOperation.DELETE and not change.columns:
            given = entity.key
        for column in (*given, *change.fields, *change.add):
            if column not in entity.columns:
                known = ", ".join(entity.columns)
                raise PermanentError(
                    "batch_column_unknown",
                    f"entity {entity.name!r} has no column {column[:64]!r}; it has: {known}",
                )
        if missing := [name for name in entity.key if name not in given]:
            raise PermanentError(
                "batch_key_missing",
                f"items need the key of entity {entity.name!r}: {', '.join(missing)}",
            )
        if len(set(given)) < len(given):
            raise PermanentError("batch_column_repeated", "a column is named twice")
        self.columns = tuple(given)
        self._fields = tuple(change.fields.get(name, name) for name in given)
        if self._header is not None:
            self._picked = tuple(self._position(name) for name in self._fields)
        readers = FROM_TEXT if self._is_text else FROM_JSON
        self._converts = tuple(readers[entity.columns[name]] for name in given)
        self._kinds = tuple(entity.columns[name] for name in given)
        self._key_at = tuple(given.index(name) for name in entity.key)

    def _position(self, name: str) -> int:
        header = self._header or ()
        if name not in header:
            raise PermanentError(
                "batch_field_missing",
                f"the items have no field {name!r}; they have: {', '.join(header)[:500]}",
            )
        return header.index(name)

    def _row(self, record: Record) -> tuple[Any, ...]:
        values = self._values(record)
        try:
            row = tuple(
                [
                    None if value is None else convert(value)
                    for convert, value in zip(self._converts, values, strict=True)
                ]
            )
        except (ValueError, InvalidOperation, OverflowError):
            raise self._value_error(values) from None
        if self._add:  # Few batches add, and all others are spared the loop.
            for name, value in zip(self.columns, row, strict=True):
                if value is None and name in self._add:
                    raise ItemError(
                        "item_value_missing", f"{name!r} is added, so it needs a value"
                    )
        return row

    def _values(self, record: Record) -> list[Any]:
        if isinstance(record, tuple):
            picked = [record[at] for at in self._picked]
            return [value or None for value in picked] if self._is_text else picked
        try:
            values = [record[name] for name in self._fields]
        except KeyError as error:
            raise ItemError("item_field_missing", f"the item has no field {error}") from None
        if self._is_closed and len(record) > len(values):
            unknown = next(name for name in record if name not in self._fields)
            raise ItemError(
                "item_field_unknown",
                f"the item has a field {unknown[:64]!r} that the first item has not",
            )
        return values

    @property
    def _is_closed(self) -> bool:
        """Whether items have these fields and no others, for nobody said which ones count."""
        return not self._change.columns and self._change.operation is not BatchOperation.DELETE

    def _value_error(self, values: Sequence[Any]) -> ItemError:
        for name, convert, value in zip(self.columns, self._converts, values, strict=True):
            try:
                if value is not None:
                    convert(value)
            except (ValueError, InvalidOperation, OverflowError):
                kind = self._entity.columns[name]
                return ItemError("item_value_invalid", f"{name!r} must be {EXPECTED_HERE[kind]}")
        return ItemError("item_value_invalid", "a value does not fit its column")

    def _key(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        key = tuple([row[at] for at in self._key_at])
        if None in key:
            raise ItemError("item_key_missing", "a value of the key is missing")
        if key in self._seen:
            raise ItemError("item_key_repeated", "an item before it has the same key")
        self._seen.add(key)
        return key


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_CHARACTERS_MAX or "\0" in value:
        raise ValueError
    if not value.isascii():
        value.encode()  # A lone surrogate is no text; its UnicodeError is a ValueError.
    return value


def _decimal(value: Any) -> Decimal:
    if type(value) is Decimal and value.is_finite() and abs(value.adjusted()) < 100:
        return value
    return READERS[ColumnType.DECIMAL](value)


def _integer_text(value: str) -> int:
    if not value.isascii() or "_" in value:
        raise ValueError
    return READERS[ColumnType.INTEGER](int(value))


def _decimal_text(value: str) -> Decimal:
    if not value.isascii() or "_" in value:
        raise ValueError
    return _decimal(Decimal(value))


def _boolean_text(value: str) -> bool:
    lower = value.lower()
    if lower not in TRUE | FALSE:
        raise ValueError
    return lower in TRUE


FROM_JSON: Mapping[ColumnType, Convert] = {
    **READERS,
    ColumnType.TEXT: _text,
    ColumnType.DECIMAL: _decimal,
}
FROM_TEXT: Mapping[ColumnType, Convert] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer_text,
    ColumnType.DECIMAL: _decimal_text,
    ColumnType.DOUBLE: lambda value: float(_decimal_text(value)),
    ColumnType.TIMESTAMP: READERS[ColumnType.TIMESTAMP],
    ColumnType.DATE: READERS[ColumnType.DATE],
    ColumnType.BOOLEAN: _boolean_text,
}
EXPECTED_HERE: Mapping[ColumnType, str] = {
    **EXPECTED,
    ColumnType.TEXT: f"text of at most {TEXT_CHARACTERS_MAX} characters",
}
