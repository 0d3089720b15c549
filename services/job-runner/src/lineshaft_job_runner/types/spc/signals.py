"""All signals of a chart, as arrays: a million points may have a hundred thousand of them."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from lineshaft_contracts.spc import Rule, Signal
from numpy.typing import NDArray

from lineshaft_job_runner.types.spc.panels import PanelName
from lineshaft_job_runner.types.spc.rules import Findings

Indices = NDArray[np.int64]
SignalRule: TypeAlias = Rule | Literal["decision-interval"]
Found: TypeAlias = tuple[PanelName, SignalRule, Findings]


@dataclass(frozen=True, kw_only=True)
class Signals:
    """Sorted by point, then by chart and rule; points and starts are counted from 0."""

    points: Indices
    starts: Indices
    kinds: Indices
    """Which of `names`."""
    names: tuple[tuple[PanelName, SignalRule], ...]

    @classmethod
    def collect(cls, found: Sequence[Found]) -> "Signals":
        """Put together what the rules found."""
        ordered = sorted(found, key=lambda one: (one[0], str(one[1])))
        empty = np.empty(0, dtype=np.int64)
        points = np.concatenate([empty, *(one[2].points for one in ordered)])
        starts = np.concatenate([empty, *(one[2].starts for one in ordered)])
        kinds = np.repeat(np.arange(len(ordered)), [one[2].points.size for one in ordered])
        order = np.argsort(points, kind="stable")
        return cls(
            points=points[order],
            starts=starts[order],
            kinds=kinds[order],
            names=tuple((name, rule) for name, rule, _ in ordered),
        )

    def __len__(self) -> int:
        return self.points.size

    def first(self, most: int) -> tuple[Signal, ...]:
        """Return the first ones."""
        return tuple(self._signal(number) for number in range(min(most, len(self))))

    def unexplained(self, excluded: Collection[int]) -> tuple[int, Signal | None]:
        """Count those at points, from 1, that have no known cause, and return the first."""
        known = np.isin(self.points + 1, np.fromiter(excluded, dtype=np.int64))
        left = np.flatnonzero(~known)
        return left.size, self._signal(int(left[0])) if left.size else None

    def points_of(self, name: PanelName) -> Indices:
        """Return the points, from 0, that have a signal on this panel."""
        wanted = [number for number, (panel, _) in enumerate(self.names) if panel == name]
        return np.unique(self.points[np.isin(self.kinds, wanted)])

    def documents(self) -> Iterator[dict[str, str | int]]:
        """Yield all as JSON objects."""
        named = [{"chart": panel, "rule": str(rule)} for panel, rule in self.names]
        columns = (self.kinds.tolist(), (self.points + 1).tolist(), (self.starts + 1).tolist())
        for kind, point, start in zip(*columns, strict=True):
            yield {**named[kind], "point": point, "start": start}

    def _signal(self, number: int) -> Signal:
        panel, rule = self.names[int(self.kinds[number])]
        return Signal(
            chart=panel,
            rule=rule,
            point=int(self.points[number]) + 1,
            start=int(self.starts[number]) + 1,
        )
