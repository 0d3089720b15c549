"""Records what was collected: in memory at once, in the database soon after."""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol

from prometheus_client import Counter

from lineshaft_monitor.alert_keeper import Observation
from lineshaft_monitor.samples.latest import Latest, Snapshot
from lineshaft_monitor.samples.series import Key, SampleRow, SeriesDictionary, SeriesEntry

ROWS_MAX = 10_000
"""Waiting for the database; about five hours of an idle system."""
AGE_MAX = timedelta(hours=20)
"""Older or newer than that there may be no partition."""

ROWS = Counter("lineshaft_monitor_rows_total", "Rows of samples by outcome", ["outcome"])


class SampleStore(Protocol):
    """Where samples are kept."""

    async def add(self, entries: Sequence[SeriesEntry], rows: Sequence[SampleRow]) -> None:
        """Store new lines of the dictionary and rows, all or nothing."""
        ...


class Recorder:
    """Takes the values of a source at a moment."""

    def __init__(self, store: SampleStore, dictionary: SeriesDictionary, latest: Latest) -> None:
        self._store = store
        self._dictionary = dictionary
        self._latest = latest
        self._rows: deque[SampleRow] = deque()

    def take(self, source: str, at: datetime, values: Mapping[Key, float]) -> bool:
        """Record a snapshot; False when it is older than what is known of the source."""
        if not self._latest.take(source, Snapshot(at=at, values=values)):
            return False
        self._append(self._dictionary.row(source, at, values))
        return True

    def missed(self, source: str, at: datetime) -> list[Observation]:
        """Record that a source could not be collected; all of its series are unknown now."""
        known = self._latest.snapshot(source)
        self._latest.forget(source)
        self._append(SampleRow(source=source, at=at, values=[]))
        keys = () if known is None else known.values
        return [Observation(name=n, labels=labels, value=None, at=at) for n, labels in keys]

    def forget(self, source: str) -> None:
        """Drop what is known of a source that is gone."""
        self._latest.forget(source)
        self._latest.forget(f"{source}/derived")

    def observations(self, source: str) -> Iterator[Observation]:
        """Give the latest values of a source to the rules."""
        snapshot = self._latest.snapshot(source)
        for key, value in () if snapshot is None else snapshot.values.items():
            yield Observation(
                name=key[0],
                labels=key[1],
                value=value,
                at=snapshot.at if snapshot else datetime.now(UTC),
                rate=self._latest.rate(source, key),
            )

    def _append(self, row: SampleRow) -> None:
        if abs(datetime.now(UTC) - row.at) > AGE_MAX:
            ROWS.labels("out_of_range").inc()
            return
        if len(self._rows) >= ROWS_MAX:
            self._rows.popleft()
            ROWS.labels("dropped").inc()
        self._rows.append(row)

    async def flush(self) -> None:
        """Store what waits; on failure it keeps waiting."""
        rows, entries = list(self._rows), list(self._dictionary.unsaved)
        if not rows and not entries:
            return
        await self._store.add(entries, rows)
        stored = set(map(id, rows))
        while self._rows and id(self._rows[0]) in stored:  # Some may have been dropped meanwhile.
            self._rows.popleft()
        del self._dictionary.unsaved[: len(entries)]
        ROWS.labels("stored").inc(len(rows))
