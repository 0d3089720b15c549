"""One view of the present state: for each field its value and the event that stated it.

Merging is commutative, associative and idempotent, so that neither the order nor a repetition of
events matters: of each field the statement with the greatest stamp counts.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from lineshaft_contracts.envelope import Envelope

Stamp: TypeAlias = tuple[int, int, str]
"""An event's `time` and `recordedtime` in microseconds since 1970, and its id."""
Cells: TypeAlias = dict[str, list[Any]]
"""By field: the value and the three parts of the stamp; the shape that is stored."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
LATEST = "_latest"
"""Field of every view: source, type and id of the latest event."""


def stamp_of(envelope: Envelope[Any]) -> Stamp:
    """Return by what an event is earlier or later than others."""
    heard = envelope.recordedtime or envelope.time
    return (_microseconds(envelope.time), _microseconds(heard), envelope.id)


def merge(cells: Cells, fields: Mapping[str, Any], stamp: Stamp) -> None:
    """Put in what an event states, where nothing later has been stated."""
    for name, value in fields.items():
        known = cells.get(name)
        if known is None or stamp > (known[1], known[2], known[3]):
            cells[name] = [value, *stamp]


def value(cells: Cells, name: str) -> Any:
    """Return a field's value; None when it has none."""
    cell = cells.get(name)
    return None if cell is None else cell[0]


def stamp(cells: Cells, name: str) -> Stamp | None:
    """Return when a field was stated; None when it never was."""
    cell = cells.get(name)
    return None if cell is None else (cell[1], cell[2], cell[3])


def is_later(cells: Cells, name: str, than: str) -> bool:
    """Whether a field was stated, and the other one was not or earlier."""
    one, other = stamp(cells, name), stamp(cells, than)
    return one is not None and (other is None or one > other)


def moment(microseconds: int) -> datetime:
    """Return the instant of a stamp."""
    return EPOCH + microseconds * MICROSECOND


def _microseconds(instant: datetime) -> int:
    return (instant - EPOCH) // MICROSECOND
