"""Diagrams of a shift, drawn as vectors: output by the hour and downtime by reason."""

from collections.abc import Sequence

from reportlab.lib.colors import Color, HexColor

from lineshaft_job_runner.types.reporting.pages import ACCENT, ALARM, INK, SOFT, Pages

HEIGHT = 130
GAP = 24
LABELS_MAX = 16
BAR_WIDTH_MAX = 36
GOOD, SCRAP = HexColor("#2e7d4f"), ALARM


class Axes:
    """A plot area with a value axis from 0 to a round number above the largest value."""

    def __init__(
        self, pages: Pages, largest: float, *, legend: Sequence[tuple[str, Color]]
    ) -> None:
        top = pages.reserve(HEIGHT + GAP)
        self._pages = pages
        self.left, self.right = pages.left + 40, pages.right - 30
        self.bottom, self.height = top - HEIGHT, HEIGHT - 18
        self.ceiling = _round_up(largest)
        self._grid()
        x = self.left
        for name, color in legend:
            pages.canvas.setFillColor(color)
            pages.canvas.rect(x, top - 9, 7, 7, 0, 1)
            pages.text(name, x + 10, top - 8, size=7)
            x += 22 + len(name) * 4.5

    def y_of(self, value: float) -> float:
        """Height on the page of a value."""
        return self.bottom + self.height * value / self.ceiling

    def bar(self, x: float, width: float, base: float, value: float, color: Color) -> None:
        """Draw a bar of `value` on top of `base`."""
        self._pages.canvas.setFillColor(color)
        low = self.y_of(base)
        self._pages.canvas.rect(x, low, width, self.y_of(base + value) - low, 0, 1)

    def label(self, text: str, x: float, room: float) -> None:
        """Name a place on the lower axis."""
        line = self._pages.typography.wrap(text, size=6.5, width=room)
        for number, part in enumerate(line[:2]):
            self._pages.text(part, x, self.bottom - 9 - 7 * number, size=6.5, align="middle")

    def _grid(self) -> None:
        canvas = self._pages.canvas
        canvas.setStrokeColor(SOFT)
        for step in range(5):
            value = self.ceiling * step / 4
            y = self.y_of(value)
            canvas.line(self.left, y, self.right, y)
            self._pages.text(f"{value:g}", self.left - 4, y - 2, size=6.5, align="right")


def draw_hours(pages: Pages, hours: Sequence[tuple[str, int, int]]) -> None:
    """Draw stacked bars of (label, good, scrap), one for each hour."""
    largest = max(good + scrap for _, good, scrap in hours)
    axes = Axes(pages, largest, legend=[("Good", GOOD), ("Scrap", SCRAP)])
    step = (axes.right - axes.left) / len(hours)
    width = min(step * 0.7, BAR_WIDTH_MAX)
    every = -(-len(hours) // LABELS_MAX)
    for index, (label, good, scrap) in enumerate(hours):
        middle = axes.left + step * (index + 0.5)
        axes.bar(middle - width / 2, width, 0, good, GOOD)
        axes.bar(middle - width / 2, width, good, scrap, SCRAP)
        if index % every == 0:
            axes.label(label, middle, step * every)


def draw_pareto(pages: Pages, reasons: Sequence[tuple[str, float]]) -> None:
    """Draw bars of (reason, minutes), largest first, and the line of their running share."""
    total = sum(minutes for _, minutes in reasons)
    axes = Axes(
        pages,
        max(minutes for _, minutes in reasons),
        legend=[("Minutes", ACCENT), ("Running share", ALARM)],
    )
    step = (axes.right - axes.left) / len(reasons)
    width = min(step * 0.7, BAR_WIDTH_MAX)
    canvas, running, last = pages.canvas, 0.0, None
    for index, (reason, minutes) in enumerate(reasons):
        middle = axes.left + step * (index + 0.5)
        axes.bar(middle - width / 2, width, 0, minutes, ACCENT)
        axes.label(reason, middle, step - 2)
        running += minutes
        share = running / total if total else 1.0
        point = (middle, axes.bottom + axes.height * share)
        canvas.setStrokeColor(ALARM)
        if last is not None:
            canvas.line(*last, *point)
        pages.text(f"{share:.0%}", middle, point[1] + 3, size=6.5, align="middle", color=INK)
        last = point


def _round_up(largest: float) -> float:
    """Return the next of 1, 2, 4, 8 or 10 times a power of ten, so that quarters are round."""
    if largest <= 0:
        return 4
    power = 10.0 ** (len(f"{largest:.0f}") - 1) if largest >= 1 else 1.0
    return next(factor * power for factor in (1, 2, 4, 8, 10, 20) if factor * power >= largest)
