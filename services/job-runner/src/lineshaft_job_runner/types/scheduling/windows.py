"""Working time in ticks: sorted, disjoint intervals, and what fits into them where."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple


class Span(NamedTuple):
    """Ticks from `start` up to, not including, `end`."""

    start: int
    end: int


class Variant(NamedTuple):
    """The starts at which some work takes the same elapsed time."""

    size: int
    """Elapsed ticks from start to end: the work and the breaks inside."""
    starts: tuple[Span, ...]


class Windows:
    """When something is at work."""

    def __init__(self, spans: Iterable[Span]) -> None:
        self.spans = tuple(_merged(spans))
        self._starts = [span.start for span in self.spans]
        self._ends = [span.end for span in self.spans]
        self._worked = [0, *accumulate(span.end - span.start for span in self.spans)]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Windows) and self.spans == other.spans

    def __hash__(self) -> int:
        return hash(self.spans)

    @property
    def longest(self) -> int:
        """Ticks of the longest window."""
        return max((span.end - span.start for span in self.spans), default=0)

    def worked(self, tick: int) -> int:
        """Return the working ticks before `tick`."""
        index = bisect_right(self._starts, tick) - 1
        if index < 0:
            return 0
        return self._worked[index] + min(tick, self._ends[index]) - self._starts[index]

    def within(self, start: int, end: int) -> int:
        """Return the working ticks of a span."""
        return self.worked(end) - self.worked(start)

    def cut(self, start: int, end: int) -> Iterator[Span]:
        """Yield the parts of windows inside of a span."""
        for index in range(bisect_right(self._ends, start), len(self.spans)):
            if self._starts[index] >= end:
                return
            yield Span(max(start, self._starts[index]), min(end, self._ends[index]))

    def intersect(self, other: "Windows") -> "Windows":
        """Return when both are at work."""
        if self is other:
            return self
        return Windows(part for span in other.spans for part in self.cut(span.start, span.end))

    def without(self, closed: Iterable[Span]) -> "Windows":
        """Return the windows outside of closed spans."""
        left: list[Span] = []
        holes = _merged(closed)
        if not holes:
            return self
        for span in self.spans:
            start = span.start
            for hole in holes:
                if hole.end > start and hole.start < span.end:
                    if hole.start > start:
                        left.append(Span(start, hole.start))
                    start = hole.end
            if start < span.end:
                left.append(Span(start, span.end))
        return Windows(left)

    def finish(self, start: int, work: int) -> int | None:
        """Return when work that begins at `start` ends, over breaks; None beyond the windows."""
        done = self.worked(start) + work
        index = bisect_left(self._worked, done) - 1
        if index < 0 or index >= len(self.spans):
            return None
        return self._starts[index] + done - self._worked[index]

    def earliest(self, tick: int, work: int, *, interruptible: bool) -> Span | None:
        """Return the first place for work at or after `tick`; None when there is none."""
        for index in range(bisect_right(self._ends, tick), len(self.spans)):
            start = max(tick, self._starts[index])
            if interruptible:
                end = self.finish(start, work)
                return None if end is None else Span(start, end)
            if start + work <= self._ends[index]:
                return Span(start, start + work)
        return None

    def latest(self, tick: int, work: int, *, interruptible: bool) -> Span | None:
        """Return the last place for work that ends at or before `tick`."""
        for index in range(bisect_left(self._starts, tick) - 1, -1, -1):
            end = min(tick, self._ends[index])
            if interruptible:
                begun = self._worked[index] + end - self._starts[index] - work
                if begun < 0:
                    return None
                first = bisect_right(self._worked, begun) - 1
                return Span(self._starts[first] + begun - self._worked[first], end)
            if end - work >= self._starts[index]:
                return Span(end - work, end)
        return None

    def after(self, tick: int, work: int) -> int | None:
        """Return the first instant at which so much working time has passed since `tick`."""
        return tick if work <= 0 else self.finish(tick, work)

    def variants(self, work: int, *, interruptible: bool) -> tuple[Variant, ...]:
        """Group all possible starts of work by the elapsed time that it then takes.

        A break inside adds its length, and regular calendars have few different ones, so that
        there are a handful of groups over any horizon.
        """
        starts: dict[int, list[Span]] = {}
        for index, window in enumerate(self.spans):
            if window.end - work >= window.start:
                starts.setdefault(work, []).append(Span(window.start, window.end - work + 1))
            if interruptible and work > 1:
                for size, span in self._across(index, work):
                    starts.setdefault(size, []).append(span)
        return tuple(Variant(size, tuple(_merged(starts[size]))) for size in sorted(starts))

    def _across(self, index: int, work: int) -> Iterator[tuple[int, Span]]:
        """Yield (elapsed ticks, starts) of work that begins in one window and ends in another."""
        first = self.spans[index]
        for last in range(index + 1, len(self.spans)):
            between = self._worked[last] - self._worked[index + 1]
            length = self.spans[last].end - self.spans[last].start
            low = max(first.start, first.end + between - work + 1)
            high = min(first.end - 1, first.end + between + length - work)
            if low > first.end - 1:
                return
            if low <= high:
                closed = self.spans[last].start - first.end - between
                yield work + closed, Span(low, high + 1)


def _merged(spans: Iterable[Span]) -> list[Span]:
    """Sort spans, and join those that touch; empty ones are left out."""
    merged: list[Span] = []
    for span in sorted(span for span in spans if span.end > span.start):
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged
