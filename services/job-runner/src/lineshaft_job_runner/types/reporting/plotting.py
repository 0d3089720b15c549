"""Lays charts out as shapes, once for every format that draws."""

import math
import textwrap
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import assert_never

from lineshaft_job_runner.types.reporting.document import Bars, Chart, Form, Tone, Trace
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.shapes import Box, Dot, Drawing, Path, Shape, Words
from lineshaft_job_runner.types.reporting.style import INK, MUTED, SOFT, TONES

WIDTH = 510.0
HEIGHT = 168.0
LEFT, RIGHT, TOP, BOTTOM = 40.0, 500.0, 20.0, 142.0
"""Edges of the area of the plot."""
LABELS_MAX = 16
BAR_WIDTH_MAX = 34.0
SIZE = 6.5
LETTER = 0.56
"""Mean width of a letter, in sizes; a little generous."""
PAPER = "#ffffff"
FACTORS = (1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10)
LIMITS_WIDTH = 58.0
"""Room at the right of a control chart, where its limits are written."""


def draw(chart: Chart, numerals: Numerals) -> Drawing:
    """Return the shapes of a chart."""
    match chart:
        case Bars():
            shapes = _bars(chart, numerals)
        case Trace():
            shapes = _trace(chart, numerals)
        case _:
            assert_never(chart)
    return Drawing(width=WIDTH, height=HEIGHT, shapes=shapes)


def _bars(chart: Bars, numerals: Numerals) -> list[Shape]:
    columns = list(zip(*(series.values for series in chart.series), strict=True))
    heights = [sum(column) if chart.stacked else max(column) for column in columns]
    largest = 1.0 if chart.form is Form.RATIO else max(heights, default=0)
    ceiling = _round_up(max(largest, *heights))
    shapes = _grid([ceiling * step / 4 for step in range(5)], 0, ceiling, chart.form, numerals)
    legend = [(series.title, series.tone) for series in chart.series]
    shapes += _legend([*legend, ("Running share", Tone.BAD)] if chart.running_share else legend)
    step = (RIGHT - LEFT) / max(len(columns), 1)
    every = -(-len(columns) // LABELS_MAX)
    for index, column in enumerate(columns):
        middle = LEFT + step * (index + 0.5)
        shapes += _column(chart, column, middle, step, ceiling)
        if index % every == 0:
            shapes += _label(chart.labels[index], middle, step * every)
    if chart.running_share:
        shapes += _running(chart.series[0].values, step)
    return shapes


def _column(
    chart: Bars, values: Sequence[float], middle: float, step: float, ceiling: float
) -> list[Shape]:
    parts = 1 if chart.stacked else len(values)
    width = min(step * 0.74, BAR_WIDTH_MAX * (1 if parts == 1 else parts / 2)) / parts
    base, shapes = 0.0, list[Shape]()
    for index, (series, value) in enumerate(zip(chart.series, values, strict=True)):
        place = 0 if chart.stacked else index
        low, high = _y(base, 0, ceiling), _y(base + value, 0, ceiling)
        left = middle + (place - parts / 2) * width
        # Bars side by side keep a hair's breadth apart.
        drawn = width if parts == 1 else width * 0.92
        color = TONES[series.tone]
        shapes.append(Box(x=left, y=high, width=drawn, height=max(low - high, 0), color=color))
        base += value if chart.stacked else 0
    return shapes


def _running(values: Sequence[float], step: float) -> list[Shape]:
    """Draw the running share of the whole, 0 to 100 % over the whole height."""
    total = sum(values) or 1.0
    shares = [running / total for running in accumulate(values)]
    points = [(LEFT + step * (index + 0.5), _y(share, 0, 1)) for index, share in enumerate(shares)]
    color = TONES[Tone.BAD]
    shapes: list[Shape] = [Path(points=points, color=color, width=1)]
    for (x, y), share in zip(points, shares, strict=True):
        shapes.append(Dot(x=x, y=y, radius=1.6, color=color))
        text = f"{share:.0%}"
        width = len(text) * SIZE * LETTER + 3
        shapes.append(Box(x=x - width / 2, y=y - 11, width=width, height=8, color=PAPER))
        shapes.append(Words(text=text, x=x, y=y - 5, size=SIZE, color=INK, anchor="middle"))
    return shapes


def _trace(chart: Trace, numerals: Numerals) -> list[Shape]:
    known = [value for value in chart.values if value is not None]
    levels = [*known, *chart.lines.values()]
    low, high = (min(levels), max(levels)) if levels else (0.0, 1.0)
    margin = (high - low) * 0.08 or abs(high) * 0.01 or 1.0
    low, high, right = low - margin, high + margin, RIGHT - LIMITS_WIDTH
    # Limits write their own values; a grid would only hide them.
    shapes: list[Shape] = []
    for name, level in chart.lines.items():
        y = _y(level, low, high)
        color = TONES[Tone.GOOD if name == "CL" else Tone.BAD]
        line = [(LEFT, y), (right, y)]
        shapes.append(Path(points=line, color=color, width=0.8, dashed=name != "CL"))
        text = f"{name} {numerals.measure(level)}"
        shapes.append(Words(text=text, x=right + 3, y=y + 2, size=6, color=color))
    step = (right - LEFT) / max(len(chart.values), 1)
    places = [LEFT + step * (index + 0.5) for index in range(len(chart.values))]
    shapes += _phase(chart, step)
    shapes += _points(chart, places, lambda value: _y(value, low, high), step)
    every = -(-len(places) // LABELS_MAX) or 1
    for index in range(0, len(places), every):
        shapes += _label(str(index + 1), places[index], step * every)
    return [*shapes, Path(points=[(LEFT, BOTTOM), (right, BOTTOM)], color=SOFT)]


def _points(
    chart: Trace, places: Sequence[float], y_of: Callable[[float], float], step: float
) -> list[Shape]:
    shapes: list[Shape] = []
    run: list[tuple[float, float]] = []
    radius = min(1.8, max(0.6, step * 0.4))
    for index, value in enumerate(chart.values):
        if value is None:
            shapes += _line(run)
            run = []
            continue
        run.append((places[index], y_of(value)))
    shapes += _line(run)
    for index, value in enumerate(chart.values):
        if value is not None:
            flagged = index in chart.flagged
            color = TONES[Tone.BAD if flagged else Tone.ACCENT]
            size = max(radius, 2.4) if flagged else radius
            shapes.append(Dot(x=places[index], y=y_of(value), radius=size, color=color))
    return shapes


def _line(run: list[tuple[float, float]]) -> list[Shape]:
    return [Path(points=run, color=TONES[Tone.ACCENT], width=0.7)] if len(run) > 1 else []


def _phase(chart: Trace, step: float) -> list[Shape]:
    """Mark where the limits were frozen."""
    if not 0 < chart.phase1_points < len(chart.values):
        return []
    x = LEFT + step * chart.phase1_points
    line = Path(points=[(x, TOP - 4), (x, BOTTOM)], color=MUTED, dashed=True)
    text = "limits frozen"
    return [line, Words(text=text, x=x + 3, y=TOP, size=SIZE, color=MUTED)]


def _grid(
    levels: Sequence[float], low: float, high: float, form: Form, numerals: Numerals
) -> list[Shape]:
    shapes: list[Shape] = []
    for level in levels:
        y = _y(level, low, high)
        shapes.append(Path(points=[(LEFT, y), (RIGHT, y)], color=SOFT))
        whole = level.is_integer()
        text = numerals.integer(int(level)) if whole else numerals.measure(level)
        text = f"{level:.0%}" if form is Form.RATIO else text
        shapes.append(Words(text=text, x=LEFT - 5, y=y + 2, size=SIZE, color=MUTED, anchor="end"))
    return shapes


def _legend(entries: Sequence[tuple[str, Tone]]) -> list[Shape]:
    shapes: list[Shape] = []
    x = LEFT
    for title, tone in entries:
        shapes.append(Box(x=x, y=2, width=7, height=7, color=TONES[tone]))
        shapes.append(Words(text=title, x=x + 10, y=8, size=7, color=INK))
        x += 26 + len(title) * 7 * LETTER
    return shapes


def _label(text: str, middle: float, room: float) -> list[Shape]:
    """Name a place on the lower axis in two lines at most."""
    letters = max(int((room - 2) / (SIZE * LETTER)), 3)
    clean = " ".join(text.split())
    lines = textwrap.wrap(clean, letters, max_lines=2, placeholder="\u2026") or [clean[:letters]]
    return [
        Words(
            text=line, x=middle, y=BOTTOM + 10 + 8 * number, size=SIZE, color=INK, anchor="middle"
        )
        for number, line in enumerate(lines)
    ]


def _y(value: float, low: float, high: float) -> float:
    return BOTTOM - (BOTTOM - TOP) * (value - low) / (high - low)


def _round_up(largest: float) -> float:
    """Return a number whose quarters are short."""
    if largest <= 0:
        return 4.0
    power = 10.0 ** math.floor(math.log10(largest))
    return next(factor * power for factor in FACTORS if factor * power >= largest * 0.999999)
