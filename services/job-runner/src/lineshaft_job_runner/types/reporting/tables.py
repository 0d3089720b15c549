"""Tables that are drawn row by row, so that their length does not matter."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from reportlab.lib.colors import HexColor

from lineshaft_job_runner.types.reporting.pages import INK, SOFT, Pages
from lineshaft_job_runner.types.reporting.typography import BOLD, REGULAR, width_of

SIZE = 7.5
LEADING = 9.5
PADDING = 3
STRIPE = HexColor("#f4f7fa")


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """One column: where its value comes from and how it is written."""

    name: str
    title: str
    share: float
    """Of the table's width, relative to the other columns."""
    write: Callable[[Any], str]
    right: bool = False


class TableWriter:
    """Draws rows below each other; each page begins with the header row."""

    def __init__(self, pages: Pages, columns: Sequence[TableColumn]) -> None:
        self._pages = pages
        self._columns = columns
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
            self._fitted(column, value, width)
            for column, value, width in zip(self._columns, row, self._widths, strict=True)
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

    def _fitted(self, column: TableColumn, value: Any, width: float) -> list[str]:
        text = self._pages.typography.clean(column.write(value))
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
        if not self._columns[index].right:
            return left + PADDING
        return left + self._widths[index] - 2 * PADDING - width_of(line, SIZE, font)

    def _head(self) -> None:
        height = LEADING + 2 * PADDING
        top = self._pages.reserve(height)
        canvas = self._pages.canvas
        canvas.setFillColor(SOFT)
        canvas.rect(self._pages.left, top - height, self._pages.width, height, 0, 1)
        canvas.setFillColor(INK)
        titles = [[column.title] for column in self._columns]
        self._draw(titles, top - LEADING - 1, BOLD)
