"""The latest values of every source, and how fast its counters grow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from lineshaft_monitor.samples.series import Key


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What one source said at one moment."""

    at: datetime
    values: Mapping[Key, float]


class Latest:
    """Keeps two snapshots of each source: enough for every value and every rate."""

    def __init__(self) -> None:
        self._now: dict[str, Snapshot] = {}
        self._before: dict[str, Snapshot] = {}

    def take(self, source: str, snapshot: Snapshot) -> bool:
        """Keep a snapshot; False when it is older than what is known."""
        known = self._now.get(source)
        if known is not None:
            if snapshot.at <= known.at:
                return False
            self._before[source] = known
        self._now[source] = snapshot
        return True

    def forget(self, source: str) -> None:
        """Drop a source: it is gone, or was not collected."""
        self._now.pop(source, None)
        self._before.pop(source, None)

    def snapshot(self, source: str) -> Snapshot | None:
        """Return what a source said last."""
        return self._now.get(source)

    def value(self, source: str, name: str, **labels: str) -> float | None:
        """Return one value; None when it is not known."""
        now = self._now.get(source)
        return None if now is None else now.values.get((name, tuple(sorted(labels.items()))))

    def rate(self, source: str, key: Key) -> float | None:
        """Return a counter's growth per second; after a restart it counts from zero."""
        now, before = self._now.get(source), self._before.get(source)
        if now is None or before is None or key not in now.values or key not in before.values:
            return None
        seconds = (now.at - before.at) / timedelta(seconds=1)
        value, previous = now.values[key], before.values[key]
        return (value - previous if value >= previous else value) / seconds

    def named(self, source: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Go through the series of one metric of a source: labels and value."""
        now = self._now.get(source)
        for (found, labels), value in () if now is None else now.values.items():
            if found == name:
                yield dict(labels), value

    def rates(self, source: str, name: str) -> Iterator[tuple[dict[str, str], float]]:
        """Go through the growth per second of one metric of a source: labels and rate."""
        now = self._now.get(source)
        for key in () if now is None else now.values:
            if key[0] == name and (rate := self.rate(source, key)) is not None:
                yield dict(key[1]), rate
