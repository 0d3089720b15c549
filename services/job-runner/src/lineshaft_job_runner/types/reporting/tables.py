"""Tables that are drawn row by row, so that their length does not matter."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reportlab.lib.colors import HexColor

from lineshaft_job_runner.types.reporting import style
from lineshaft_job_runner.types.reporting.document import Column, Form
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.pages import INK, RULE, Pages
from lineshaft_job_runner.types.reporting.style import table_part
from lineshaft_job_runner.types.reporting.typography import BOLD, REGULAR, width_of

SIZE = 7.5
LEADING = 9.5
PADDING = 3
STRIPE = HexColor(style.STRIPE)


class TableWriter:
    """Draws rows below each other; each page begins with the header row."""

    def __init__(self, pages: Pages, columns: Sequence[Column], numerals: Numerals) -> None:
        self._pages = pages
        self._columns = columns
        self._at_right = [column.form.is_number for column in columns]
        self._writers = [numerals.writer(column.form) for column in columns]
        self._widths = _widths(columns, pages.width)
        self._width = sum(self._widths)
        self._edges = [pages.left + sum(self._widths[:index]) for index in range(len(columns))]
        self.rows = 0
        self._head()

    def add(self, rows: Iterable[Sequence[Any]]) -> None:
        """Draw rows whose values are in the order of the columns."""
        for row in rows:
            self._row(row)
            self.rows += 1

    def _row(self, row: Sequence[Any]) -> None:
        cells = [
            self._fitted(write, value, width)
            for write, value, width in zip(self._writers, row, self._widths, strict=True)
        ]
        height = max(map(len, cells)) * LEADING + PADDING
        if not self._pages.fits(height):
            self._pages.turn()
            self._head()
        top = self._pages.reserve(height)
        canvas = self._pages.canvas
        if self.rows % 2:
            canvas.setFillColor(STRIPE)
            canvas.rect(self._pages.left, top - height, self._width, height, 0, 1)
        canvas.setFillColor(INK)
        self._draw(cells, top - LEADING + 1, REGULAR)

    def _fitted(self, write: Callable[[Any], str], value: Any, width: float) -> list[str]:
        text = self._pages.typography.clean(write(value))
        return self._pages.typography.wrap(text, size=SIZE, width=width - 3 * PADDING)

    def _draw(self, cells: Sequence[Sequence[str]], y: float, font: str) -> None:
        """Draw the lines of all cells as one text object, which is much faster than many."""
        text = self._pages.canvas.beginText()
        text.setFont(font, SIZE, LEADING)
        for index, lines in enumerate(cells):
            for number, line in enumerate(lines):
                text.setTextOrigin(self._x_of(index, line, font), y - LEADING * number)
                text.textLine(line)
        self._pages.canvas.drawText(text)

    def _x_of(self, index: int, line: str, font: str) -> float:
        left = self._edges[index]
        if not self._at_right[index]:
            return left + PADDING
        return left + self._widths[index] - 2 * PADDING - width_of(line, SIZE, font)

    def _head(self) -> None:
        wrap = self._pages.typography.wrap
        titles = [
            wrap(column.title, size=SIZE, width=width - 3 * PADDING, font=BOLD)
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        height = max(map(len, titles)) * LEADING + 2 * PADDING
        top = self._pages.reserve(height)
        canvas = self._pages.canvas
        canvas.setFillColor(RULE)
        canvas.rect(self._pages.left, top - height, self._width, height, 0, 1)
        canvas.setFillColor(INK)
        self._draw(titles, top - LEADING - 1, BOLD)


def _widths(columns: Sequence[Column], page: float) -> list[float]:
    """Share the width out in points; no title is broken within a word while there is room."""
    total = sum(column.share for column in columns)
    whole = page * table_part(total)
    least = [_least(column) for column in columns]
    widths = [max(whole * c.share / total, low) for c, low in zip(columns, least, strict=True)]
    # What some columns need more, the others give in proportion to what they have to spare.
    excess = sum(widths) - max(whole, min(sum(least), page))
    spare = sum(width - low for width, low in zip(widths, least, strict=True))
    taken = min(excess / spare, 1.0) if spare > 0 and excess > 0 else 0.0
    widths = [width - (width - low) * taken for width, low in zip(widths, least, strict=True)]
    scale = min(1.0, page / sum(widths))
    return [width * scale for width in widths]


def _least(column: Column) -> float:
    words = column.title.split()
    widest = max(width_of(word, SIZE, BOLD) for word in words)
    if column.form is Form.MOMENT:
        widest = max(widest, width_of("0000-00-00 00:00", SIZE))
    return widest + 3 * PADDING + 0.5
