"""Tables that are drawn row by row, so that their length does not matter."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from reportlab.lib.colors import HexColor

from lineshaft_job_runner.types.reporting import palette
from lineshaft_job_runner.types.reporting.document import Column
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.pages import INK, RULE, Pages
from lineshaft_job_runner.types.reporting.typography import BOLD, REGULAR, width_of

SIZE = 7.5
LEADING = 9.5
PADDING = 3
BOLD_RATIO = 1.12
"""How much wider bold letters are, about."""
STRIPE = HexColor(palette.STRIPE)


class TableWriter:
    """Draws rows below each other; each page begins with the header row."""

    def __init__(self, pages: Pages, columns: Sequence[Column], numerals: Numerals) -> None:
        self._pages = pages
        self._columns = columns
        self._writers = [numerals.writer(column.form) for column in columns]
        total = sum(column.share for column in columns)
        self._widths = [pages.width * column.share / total for column in columns]
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
            canvas.rect(self._pages.left, top - height, self._pages.width, height, 0, 1)
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
        if not self._columns[index].form.is_number:
            return left + PADDING
        return left + self._widths[index] - 2 * PADDING - width_of(line, SIZE, font)

    def _head(self) -> None:
        wrap = self._pages.typography.wrap
        titles = [
            wrap(column.title, size=SIZE * BOLD_RATIO, width=width - 3 * PADDING)
            for column, width in zip(self._columns, self._widths, strict=True)
        ]
        height = max(map(len, titles)) * LEADING + 2 * PADDING
        top = self._pages.reserve(height)
        canvas = self._pages.canvas
        canvas.setFillColor(RULE)
        canvas.rect(self._pages.left, top - height, self._pages.width, height, 0, 1)
        canvas.setFillColor(INK)
        self._draw(titles, top - LEADING - 1, BOLD)
