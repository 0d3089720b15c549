"""Measurements as one array: a row per plotted point, a column per value of its subgroup."""

from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from lineshaft_contracts.spc import ChartKind, ChartParameters, MeasurementQuery

from lineshaft_job_runner.job_type import JobContext, PermanentError, Rows
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.quality.reading import NUMBERS, TRUTHS, position
from lineshaft_job_runner.types.spc.panels import Array, Mask

VALUES_MAX = 10_000_000
SIZES = {
    ChartKind.XBAR_R: (2, 10),
    ChartKind.XBAR_S: (2, 25),
    ChartKind.EWMA: (1, 25),
    ChartKind.CUSUM: (1, 25),
}
"""Smallest and largest subgroup; above 10 values a range wastes what was measured."""
SINGLE = (1, 1)
MAGNITUDE_MAX = 1e100
"""Squares of larger values cannot be added up."""


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Values in order of production; a point with a missing value is NaN throughout."""

    values: Array
    """Shape (points, subgroup size); counts of a chart for attributes have the size 1."""
    sizes: Array
    """Units inspected at each point; empty for measured values."""
    phase1: Mask
    """Points that limits may be estimated from."""
    unequal: int
    """Subgroups that were left out because their size differs from the most frequent one."""


@dataclass(frozen=True, kw_only=True)
class _Flat:
    values: Array
    sizes: "np.ndarray[tuple[int], np.dtype[np.int64]]"
    phase1: Mask | None
    inspected: Array | None = None
    """Size of the sample of each value, of charts for attributes."""


async def gather(context: JobContext, parameters: ChartParameters) -> Measurements:
    """Collect the values from the parameters or from the data source."""
    if parameters.measurements is not None:
        flat = await _read(context, parameters.measurements, parameters.chart)
    else:
        subgroups = parameters.subgroups or [(value,) for value in parameters.values or ()]
        flat = _Flat(
            values=np.array([value for group in subgroups for value in group], dtype=np.float64),
            sizes=np.array([len(group) for group in subgroups], dtype=np.int64),
            phase1=None,
            inspected=_given_sizes(parameters),
        )
    return _shape(flat, parameters)


def _given_sizes(parameters: ChartParameters) -> Array | None:
    if parameters.sizes is None:
        return None
    sizes = np.array(parameters.sizes, dtype=np.float64)
    return np.broadcast_to(sizes, len(parameters.values or ())).copy()


def _shape(flat: _Flat, parameters: ChartParameters) -> Measurements:
    if (np.abs(flat.values) > MAGNITUDE_MAX).any():
        raise PermanentError(
            "values_too_large",
            f"a value is infinite or beyond {MAGNITUDE_MAX:g}: leave it out or make it NULL",
        )
    points = flat.sizes.size
    size = int(np.bincount(flat.sizes).argmax()) if points else 1
    smallest, largest = SIZES.get(parameters.chart, SINGLE)
    if points and not smallest <= size <= largest:
        raise PermanentError(
            "subgroup_size_unfit",
            f"chart {parameters.chart} takes subgroups of {smallest} to {largest} values, but "
            f"most have {size}: choose another chart or subgroup_column",
        )
    equal = flat.sizes == size
    offsets = np.cumsum(flat.sizes) - flat.sizes
    values = np.full((points, size), np.nan)
    values[equal] = flat.values[offsets[equal][:, None] + np.arange(size)]
    values[np.isnan(values).any(axis=1)] = np.nan
    sizes = np.empty(0)
    if parameters.chart.is_for_attributes:
        sizes = np.ones(points) if flat.inspected is None else flat.inspected
        check_counts(values[:, 0], sizes, parameters.chart)
        values[np.isnan(sizes)] = np.nan
    phase1 = flat.phase1 if flat.phase1 is not None else np.ones(points, dtype=bool)
    if parameters.phase1_points is not None:
        phase1 = phase1 & (np.arange(points) < parameters.phase1_points)
    excluded = np.array(parameters.excluded_points, dtype=np.int64) - 1
    phase1[excluded[excluded < points]] = False
    return Measurements(values=values, sizes=sizes, phase1=phase1, unequal=int((~equal).sum()))


def check_counts(counts: Array, sizes: Array, kind: ChartKind) -> None:
    """Refuse what cannot have been counted; NaN is missing. Raises PermanentError."""
    units = kind in {ChartKind.P, ChartKind.NP}
    known = ~np.isnan(counts) & ~np.isnan(sizes)
    wrong = (counts < 0) | (counts != np.floor(counts)) & ~np.isnan(counts) | np.isinf(counts)
    wrong |= (sizes <= 0) | np.isinf(sizes)
    if units:
        wrong |= known & ((counts > sizes) | (sizes != np.floor(sizes)))
    if wrong.any():
        point = int(np.flatnonzero(wrong)[0])
        raise PermanentError(
            "counts_invalid",
            f"point {point + 1} counts {counts[point]:g} in a sample of {sizes[point]:g}: counts "
            "are whole and not negative, samples are above 0, and a sample has no more "
            "nonconforming units than units",
        )
    if kind is ChartKind.NP and np.unique(sizes[~np.isnan(sizes)]).size > 1:
        raise PermanentError(
            "sample_size_varies", "chart np needs samples of one size: use chart p instead"
        )


async def _read(context: JobContext, query: MeasurementQuery, kind: ChartKind) -> _Flat:
    async with context.source(query.source) as source:
        expected = await source.count(query.query, query.query_parameters)
        if expected > VALUES_MAX:
            raise PermanentError(
                "too_many_values", f"{expected} values; {VALUES_MAX} can be analysed at once"
            )
        async with source.read(query.query, query.query_parameters) as rows:
            collected = _Collected(rows, query, kind)
            async for batch in rows.batches():
                stop_if_cancelled(context)
                collected.add(batch)
                context.progress(collected.count, expected, "reading measurements")
    if collected.count != expected:
        raise PermanentError(
            "rows_differ", f"the source counted {expected} rows but gave {collected.count}"
        )
    return collected.flat()


class _Collected:
    """Columns of interest, batch by batch; subgroups are runs of one key."""

    def __init__(self, rows: Rows, query: MeasurementQuery, kind: ChartKind) -> None:
        columns = rows.columns
        single = kind is ChartKind.I_MR or kind.is_for_attributes
        grouping = None if single else query.subgroup_column
        if kind in {ChartKind.XBAR_R, ChartKind.XBAR_S} and grouping is None:
            raise PermanentError("column_missing", f"chart {kind} needs a subgroup_column")
        self._value = position(columns, query.value_column, NUMBERS)
        self._key = None if grouping is None else position(columns, grouping, None)
        self._flag = (
            None if query.phase1_column is None else position(columns, query.phase1_column, TRUTHS)
        )
        self._size = position(columns, query.size_column, NUMBERS) if kind.needs_sizes else None
        self._inspected: list[Array] = []
        self._values: list[Array] = []
        self._sizes: list[int] = []
        self._phase1: list[bool] = []
        self._seen: set[Any] = set()
        self._last: Any = object()
        self.count = 0

    def add(self, batch: list[tuple[Any, ...]]) -> None:
        """Take one batch of rows."""
        self.count += len(batch)
        self._values.append(np.array([row[self._value] for row in batch], dtype=np.float64))
        if self._size is not None:
            self._inspected.append(np.array([row[self._size] for row in batch], dtype=np.float64))
        flags = [self._flag is None or bool(row[self._flag]) for row in batch]
        if self._key is None:
            self._phase1.extend(flags)
            return
        start = 0
        for key, group in groupby(row[self._key] for row in batch):
            size = sum(1 for _ in group)
            self._extend(key, size, in_phase1=all(flags[start : start + size]))
            start += size

    def _extend(self, key: Any, size: int, *, in_phase1: bool) -> None:
        if key == self._last:
            self._sizes[-1] += size
            self._phase1[-1] = self._phase1[-1] and in_phase1
            return
        if key in self._seen:
            raise PermanentError(
                "measurements_unordered",
                f"subgroup {key!r} appears in two places: the saved query must be ordered by its "
                "subgroup column",
            )
        self._seen.add(key)
        self._last = key
        self._sizes.append(size)
        self._phase1.append(in_phase1)

    def flat(self) -> _Flat:
        """Return everything in three arrays."""
        values = np.concatenate(self._values) if self._values else np.empty(0)
        sizes = self._sizes if self._key is not None else np.ones(values.size)
        return _Flat(
            values=values,
            sizes=np.array(sizes, dtype=np.int64),
            phase1=np.array(self._phase1, dtype=bool),
            inspected=(
                None if self._size is None else np.concatenate([np.empty(0), *self._inspected])
            ),
        )
