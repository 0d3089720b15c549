"""The schedule as a Gantt chart in SVG: a lane per slot, closed time in grey, late orders red."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from pathlib import Path
from zoneinfo import ZoneInfo

from lineshaft_contracts.scheduling import Assignment, LateOrder

from lineshaft_job_runner.types.scheduling.problem import Problem
from lineshaft_job_runner.types.scheduling.windows import Span

WIDTH = 1_200
LEFT = 150
TOP = 56
LANE = 22
LANES_MAX = 400
BARS_MAX = 20_000
COLORS = ("#4e79a7", "#f28e2b", "#59a14f", "#b07aa1", "#76b7b2", "#9c755f", "#edc948", "#8cd17d")
LATE = "#c00000"
STYLE = (
    "text{font:11px sans-serif;fill:#222}.t{font-size:15px;font-weight:bold}"
    ".l{stroke:#ddd;stroke-width:1}.c{fill:#eee}.b{stroke:#fff;stroke-width:.5}"
    f".late{{stroke:{LATE};stroke-width:1.5}}.f{{fill-opacity:.45}}.p{{stroke:#222;stroke-width:1}}"
)


def draw(
    path: Path, problem: Problem, made: Sequence[Assignment], late: Sequence[LateOrder]
) -> None:
    """Write the chart; lanes and bars beyond what can be looked at are left out."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(line + "\n" for line in _Chart(problem, made, late).lines())


def _text(value: str) -> str:
    """Return text for XML, which has no control characters."""
    return escape("".join(letter for letter in value if letter.isprintable()))


class _Chart:
    def __init__(
        self, problem: Problem, made: Sequence[Assignment], late: Sequence[LateOrder]
    ) -> None:
        self._problem = problem
        self._late = {one.order: one for one in late}
        self._zone = ZoneInfo(problem.parameters.timezone)
        self._made = made
        self._start = problem.clock.start
        self._lanes = list(self._pack())[:LANES_MAX]
        last = max((one.end for one in made), default=self._start)
        self._end = max(last, self._start + timedelta(minutes=1))
        orders = (order.id for order in problem.orders)
        self._colors = {order: COLORS[i % len(COLORS)] for i, order in enumerate(orders)}

    def lines(self) -> Iterator[str]:
        """Yield the document line by line."""
        height = TOP + LANE * len(self._lanes) + 30
        title = _text(self._problem.parameters.title)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
            f'width="{WIDTH}" height="{height}" role="img" aria-label="{title}">'
        )
        yield f"<title>{title}</title><style>{STYLE}</style>"
        yield '<rect width="100%" height="100%" fill="#fff"/>'
        yield f'<text class="t" x="10" y="22">{title}</text>'
        for number, (machine, _) in enumerate(self._lanes):
            yield from self._closed(machine, TOP + LANE * number)
        yield from self._axis(height - 30)
        drawn = 0
        for number, (machine, bars) in enumerate(self._lanes):
            y = TOP + LANE * number
            yield f'<text x="10" y="{y + 15}">{_text(self._problem.machines[machine].id)}</text>'
            for one in bars[: max(0, BARS_MAX - drawn)]:
                yield from self._bar(one, y)
            drawn += len(bars)
        shown = sum(one.end > self._start for one in self._made)
        left_out = shown - min(drawn, BARS_MAX)
        note = f"times in {self._problem.parameters.timezone}; red outline: late; pale: frozen"
        note += f"; {left_out} operations are not drawn" if left_out else ""
        yield f'<text x="{LEFT}" y="{height - 8}">{_text(note)}</text></svg>'

    def _pack(self) -> Iterator[tuple[int, list[Assignment]]]:
        """Yield machine and bars of each lane; a machine with slots has as many as it uses."""
        for index, machine in enumerate(self._problem.machines):
            lanes: list[list[Assignment]] = []
            mine = (o for o in self._made if o.resource == machine.id and o.end > self._start)
            for one in mine:
                lane = next((lane for lane in lanes if lane[-1].end <= one.start), None)
                if lane is None:
                    lanes.append([one])
                else:
                    lane.append(one)
            yield from ((index, lane) for lane in lanes)

    def _x(self, moment: datetime) -> float:
        share = (moment - self._start) / (self._end - self._start)
        return LEFT + min(max(share, 0.0), 1.0) * (WIDTH - LEFT - 10)

    def _closed(self, machine: int, y: int) -> Iterator[str]:
        clock = self._problem.clock
        first, last = clock.ticks_down(self._start), clock.ticks_up(self._end)
        edge = first
        windows = self._problem.machines[machine].windows.cut(first, last)
        for span in (*windows, Span(last, last)):
            if span.start > edge:
                left = self._x(clock.moment(edge))
                width = self._x(clock.moment(span.start)) - left
                yield (
                    f'<rect class="c" x="{left:.1f}" y="{y}" width="{width:.1f}" height="{LANE}"/>'
                )
            edge = span.end

    def _axis(self, bottom: int) -> Iterator[str]:
        hours = (self._end - self._start).total_seconds() / 3_600
        step = next((s for s in (1, 2, 4, 8, 24, 48, 168, 672) if hours / s <= 14), 2_688)
        shown = "%H:%M" if step < 24 else "%d %b"
        local = self._start.astimezone(self._zone)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        number, before = 0, ""
        while (moment := (day + timedelta(hours=step * number)).astimezone(UTC)) <= self._end:
            number += 1
            if moment < self._start:
                continue
            wall = moment.astimezone(self._zone)
            x, date = self._x(moment), f"{wall:%a %d %b}"
            yield f'<line class="l" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{bottom}"/>'
            yield f'<text x="{x + 2:.1f}" y="{TOP - 8}">{wall:{shown}}</text>'
            if date != before and step < 24:
                yield f'<text x="{x + 2:.1f}" y="{TOP - 21}">{date}</text>'
            before = date

    def _bar(self, one: Assignment, y: int) -> Iterator[str]:
        late = self._late.get(one.order)
        classes = "b" + (" late" if late else "") + (" f" if one.frozen else "")
        color, width = self._colors[one.order], self._x(one.end) - self._x(one.start)
        told = f"{one.order} / {one.operation} on {one.resource}: {self._told(one)}"
        told += f", order {late.late_minutes:g} min late" if late else ""
        yield f"<g><title>{_text(told)}</title>"
        if len(one.segments) > 1:
            yield (
                f'<line class="p" x1="{self._x(one.start):.1f}" x2="{self._x(one.end):.1f}" '
                f'y1="{y + LANE / 2}" y2="{y + LANE / 2}"/>'
            )
        for part in one.segments:
            x = self._x(part.start)
            yield (
                f'<rect class="{classes}" x="{x:.1f}" y="{y + 3}" fill="{color}" '
                f'width="{max(0.5, self._x(part.end) - x):.1f}" height="{LANE - 6}" rx="2"/>'
            )
        if width > 7 * len(one.order):
            yield f'<text x="{self._x(one.start) + 3:.1f}" y="{y + 15}">{_text(one.order)}</text>'
        yield "</g>"

    def _told(self, one: Assignment) -> str:
        start, end = one.start.astimezone(self._zone), one.end.astimezone(self._zone)
        return f"{start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M}"
