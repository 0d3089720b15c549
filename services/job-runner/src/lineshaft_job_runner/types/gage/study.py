"""Readings as a crossed study: every operator measures every part equally often."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from lineshaft_contracts.gage import GageParameters, GageQuery
from numpy.typing import NDArray

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.quality.reading import NUMBERS, label, read
from lineshaft_job_runner.types.spc.panels import Array

READINGS_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Study:
    """A crossed study, or why it is none."""

    parts: tuple[str, ...]
    """In the order in which they appear; so are the operators."""
    operators: tuple[str, ...]
    values: Array
    """Shape (parts, operators, trials); empty when the study is incomplete."""
    readings: int
    missing: int
    """Readings without a value, part or operator."""
    flaw: str = ""
    """Why the study is incomplete; empty when it is complete."""

    @property
    def trials(self) -> int:
        """Readings of each part by each operator; 0 when they differ."""
        return self.values.shape[2] if self.values.size else 0


async def gather(context: JobContext, parameters: GageParameters) -> Study:
    """Collect the readings from the parameters or from the data source."""
    if parameters.measurements is None:
        return arrange(
            (reading.part, reading.operator, reading.value)
            for reading in parameters.readings or ()
        )
    return arrange(await _rows(context, parameters.measurements))


async def _rows(context: JobContext, query: GageQuery) -> list[tuple[Any, ...]]:
    wanted = [
        (query.part_column, None),
        (query.operator_column, None),
        (query.value_column, NUMBERS),
    ]
    batches = read(context, query, wanted, what="readings", rows_max=READINGS_MAX)
    return [row async for batch in batches for row in batch]


def arrange(readings: Iterable[tuple[Any, Any, Any]]) -> Study:
    """Sort readings into cells of part and operator; one that is missing is never made up."""
    parts: dict[str, int] = {}
    operators: dict[str, int] = {}
    places: list[tuple[int, int]] = []
    values: list[float] = []
    count = missing = 0
    for part, operator, value in readings:
        count += 1
        if part is None or operator is None:
            missing += 1
            continue
        place = (
            parts.setdefault(label(part), len(parts)),
            operators.setdefault(label(operator), len(operators)),
        )
        number = np.nan if value is None else float(value)
        missing += not np.isfinite(number)
        places.append(place)
        values.append(number)
    shape = (len(parts), len(operators))
    cells = np.array(places, dtype=np.int64).reshape(-1, 2)
    flat = cells[:, 0] * shape[1] + cells[:, 1]
    per_cell = np.bincount(flat, minlength=shape[0] * shape[1])
    flaw = _flaw(per_cell.reshape(shape), list(parts), list(operators), missing)
    order = np.argsort(flat, kind="stable")
    crossed = np.array(values)[order].reshape(*shape, -1) if not flaw else np.empty((0, 0, 0))
    return Study(
        parts=tuple(parts),
        operators=tuple(operators),
        values=crossed,
        readings=count,
        missing=missing,
        flaw=flaw,
    )


def _flaw(
    per_cell: NDArray[np.int64], parts: list[str], operators: list[str], missing: int
) -> str:
    if missing:
        return f"{missing} readings have no value, part or operator"
    if not per_cell.size:
        return "there are no readings"
    if per_cell.min() == per_cell.max():
        return ""
    part, operator = divmod(int(per_cell.argmin()), len(operators))
    return (
        f"part {parts[part]} was measured {per_cell.min()} times by operator "
        f"{operators[operator]}, but others {per_cell.max()} times"
    )
