"""The dictionary of series: which metric stands at which position of its source's array."""

from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import Counter

Labels = tuple[tuple[str, str], ...]
"""Sorted by name."""
Key = tuple[str, Labels]
"""Name and labels of a series."""

REFUSED = Counter(
    "lineshaft_monitor_series_refused_total", "Samples beyond the limit of series", ["metric"]
)
VALUES_MAX = 50_000
"""Series of one source."""


def labels_of(labels: Mapping[str, str]) -> Labels:
    """Write labels in their canonical order."""
    return tuple(sorted(labels.items()))


@dataclass(frozen=True, kw_only=True)
class SeriesEntry:
    """One line of the dictionary."""

    source: str
    position: int
    name: str
    labels: Labels


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """All values of one source at one moment, by position; None is "not collected"."""

    source: str
    at: datetime
    values: list[float | None]


class SeriesDictionary:
    """Gives every series its position, for good, and refuses what would be too many.

    The limit of a metric holds for each tenant by itself; series without a tenant share one.
    """

    def __init__(self, *, per_metric_max: int) -> None:
        self._per_metric_max = per_metric_max
        self._positions: dict[str, dict[Key, int]] = {}
        self._per_metric: Tally[tuple[str, str]] = Tally()
        self.unsaved: list[SeriesEntry] = []
        """New since they were saved last; whoever saves them takes them out."""

    @property
    def used_ratio(self) -> float:
        """How near the metric (of a tenant) with most series is to the limit; 1 is full."""
        return max(self._per_metric.values(), default=0) / self._per_metric_max

    def load(self, entries: Iterable[SeriesEntry]) -> None:
        """Begin with what was saved."""
        for entry in entries:
            positions = self._positions.setdefault(entry.source, {})
            positions[entry.name, entry.labels] = entry.position
            self._per_metric[_quota(entry.name, entry.labels)] += 1

    def row(self, source: str, at: datetime, values: Mapping[Key, float]) -> SampleRow:
        """Arrange values by position; series not met before are appended or refused."""
        positions = self._positions.setdefault(source, {})
        for key in values:
            if key not in positions:
                self._append(source, positions, key)
        array: list[float | None] = [None] * len(positions)
        for key, value in values.items():
            position = positions.get(key)
            if position is not None:
                array[position] = value
        return SampleRow(source=source, at=at, values=array)

    def forget(self, sources: Iterable[str]) -> None:
        """Drop the entries of sources whose samples are gone."""
        for source in sources:
            for name, labels in self._positions.pop(source, {}):
                self._per_metric[_quota(name, labels)] -= 1

    def _append(self, source: str, positions: dict[Key, int], key: Key) -> None:
        name, labels = key
        quota = _quota(name, labels)
        if self._per_metric[quota] >= self._per_metric_max or len(positions) >= VALUES_MAX:
            REFUSED.labels(name).inc()
            return
        position = len(positions)
        positions[key] = position
        self._per_metric[quota] += 1
        self.unsaved.append(
            SeriesEntry(source=source, position=position, name=name, labels=labels)
        )


def _quota(name: str, labels: Labels) -> tuple[str, str]:
    return name, dict(labels).get("tenant", "")
