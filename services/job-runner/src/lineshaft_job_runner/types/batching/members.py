"""Items as JSON members, for requests and for the parameters of jobs."""

from collections.abc import Mapping
from typing import Any

import pydantic_core

from lineshaft_job_runner.types.batching.outcomes import ItemError
from lineshaft_job_runner.types.batching.records import Record, Records


def members(record: Record, records: Records) -> dict[str, Any]:
    """Return an item by name of field; an empty field of CSV is null, a decimal is text."""
    if isinstance(record, dict):
        return record
    values = [value or None for value in record] if records.is_text else list(record)
    return dict(zip(records.header or (), pydantic_core.to_jsonable_python(values), strict=True))


def picked(item: Mapping[str, Any], chosen: Mapping[str, str]) -> dict[str, Any]:
    """Return what the fields named by `chosen` hold; the whole item when it names none."""
    if not chosen:
        return dict(item)
    return {name: value_of(item, field) for name, field in chosen.items()}


def value_of(item: Mapping[str, Any], field: str) -> Any:
    """Return the value of a field, or raise ItemError."""
    if field not in item:
        raise ItemError("item_field_missing", f"the item has no field {field!r}")
    return item[field]


def text_of(item: Mapping[str, Any], field: str) -> str:
    """Return the value of a field as plain text, or raise ItemError."""
    value = value_of(item, field)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float) or value == "":
        raise ItemError("item_value_invalid", f"{field!r} must be text or a number")
    return str(value)
