"""PDF: A4 pages that are drawn as the rows come."""

from collections.abc import Sequence
from pathlib import Path

from reportlab.lib.colors import HexColor

from lineshaft_job_runner.types.reporting.document import Chart, Document, Figure, Row, Table, Tone
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.pages import Frame, Pages
from lineshaft_job_runner.types.reporting.plotting import draw
from lineshaft_job_runner.types.reporting.shapes import Box, Dot, Shape, Words
from lineshaft_job_runner.types.reporting.shapes import Path as Line
from lineshaft_job_runner.types.reporting.style import MUTED, NOTE, STRIPE, TONES, figures_per_row
from lineshaft_job_runner.types.reporting.tables import TableWriter
from lineshaft_job_runner.types.reporting.typography import BOLD, Typography, width_of

FIGURE_HEIGHT, FIGURE_GAP = 40.0, 7.0
CHART_GAP = 6.0
PORTRAIT_SHARES_MAX = 16.0
"""Of the columns of a table; a wider one turns the paper."""
LARGEST = 1.15
"""How much a chart grows at most on a wide page."""


class PdfRenderer:
    """Writes one PDF."""

    def __init__(
        self, path: Path, document: Document, numerals: Numerals, logo: Path | None
    ) -> None:
        self._numerals = numerals
        self._typography = Typography()
        frame = Frame(
            title=self._typography.clean(document.title),
            subtitle=self._typography.clean(document.subtitle),
            footer=document.footer,
            logo=logo,
        )
        shares = (sum(column.share for column in table.columns) for table in document.tables)
        landscape = max(shares, default=0.0) > PORTRAIT_SHARES_MAX
        self._pages = Pages(path, frame, self._typography, landscape=landscape)
        self._table: TableWriter | None = None
        for note in document.notes:
            self._draw_note(self._typography.clean(note))
        self._draw_figures(document.figures)
        for chart in document.charts:
            self._draw_chart(chart)

    @property
    def rows(self) -> int:
        """See `Renderer.rows`."""
        return 0 if self._table is None else self._table.rows

    def begin(self, table: Table) -> None:
        """See `Renderer.begin`."""
        self._pages.heading(table.title)
        if table.rows_expected == 0:
            self._pages.paragraph("No rows.")
            self._table = None
            return
        self._table = TableWriter(self._pages, table.columns, self._numerals)

    def add(self, rows: Sequence[Row]) -> None:
        """See `Renderer.add`."""
        if self._table is not None:
            self._table.add(rows)

    def close(self) -> int:
        """See `Renderer.close`."""
        return self._pages.close()

    def abandon(self) -> None:
        """Pages are in memory until they are written: there is nothing to let go of."""

    def warnings(self) -> Sequence[str]:
        """See `Renderer.warnings`."""
        found: list[str] = []
        if self._typography.characters_missing:
            shown = "".join(sorted(self._typography.characters_missing)[:20])
            found.append(f"the font has no picture for these characters: {shown}")
        if self._typography.texts_cut:
            found.append(f"{self._typography.texts_cut} texts are cut at 500 characters")
        return found

    def _draw_note(self, note: str) -> None:
        pages = self._pages
        lines = self._typography.wrap(note, size=8.5, width=pages.width - 20)
        height = 12.0 * len(lines) + 8
        top = pages.reserve(height + FIGURE_GAP)
        pages.canvas.setFillColor(HexColor(NOTE))
        pages.canvas.rect(pages.left, top - height, pages.width, height, 0, 1)
        pages.canvas.setFillColor(HexColor(TONES[Tone.WARNING]))
        pages.canvas.rect(pages.left, top - height, 2.5, height, 0, 1)
        for number, line in enumerate(lines):
            pages.text(line, pages.left + 10, top - 13 - 12 * number, size=8.5)

    def _draw_figures(self, figures: Sequence[Figure]) -> None:
        pages = self._pages
        per_row = figures_per_row(len(figures))
        width = (pages.width - FIGURE_GAP * (per_row - 1)) / per_row
        for start in range(0, len(figures), per_row):
            top = pages.reserve(FIGURE_HEIGHT + FIGURE_GAP)
            for place, figure in enumerate(figures[start : start + per_row]):
                self._draw_figure(figure, pages.left + place * (width + FIGURE_GAP), top, width)

    def _draw_figure(self, figure: Figure, x: float, top: float, width: float) -> None:
        pages, color = self._pages, HexColor(TONES[figure.tone])
        pages.canvas.setFillColor(HexColor(STRIPE))
        pages.canvas.rect(x, top - FIGURE_HEIGHT, width, FIGURE_HEIGHT, 0, 1)
        pages.canvas.setFillColor(color)
        pages.canvas.rect(x, top - FIGURE_HEIGHT, 2.5, FIGURE_HEIGHT, 0, 1)
        pages.text(figure.title, x + 10, top - 13, size=7.5, color=HexColor(MUTED))
        value = self._typography.clean(self._numerals.writer(figure.form)(figure.value))
        room = width - 14
        size = next((s for s in (15.0, 12.0, 9.0) if _fits(value, s, room)), 7.0)
        text = self._typography.wrap(value, size=size, width=room)[0]
        pages.text(text, x + 10, top - 32, size=size, font=BOLD, color=color)

    def _draw_chart(self, chart: Chart) -> None:
        drawing = draw(chart, self._numerals)
        self._pages.heading(self._typography.clean(chart.title), keep=drawing.height)
        scale = min(self._pages.width / drawing.width, LARGEST)
        top = self._pages.reserve(drawing.height * scale + CHART_GAP)
        for shape in drawing.shapes:
            self._draw_shape(shape, top, scale)

    def _draw_shape(self, shape: Shape, top: float, scale: float) -> None:
        canvas, left = self._pages.canvas, self._pages.left
        match shape:
            case Box():
                canvas.setFillColor(HexColor(shape.color))
                x, y = left + shape.x * scale, top - (shape.y + shape.height) * scale
                canvas.rect(x, y, shape.width * scale, shape.height * scale, 0, 1)
            case Dot():
                canvas.setFillColor(HexColor(shape.color))
                x, y = left + shape.x * scale, top - shape.y * scale
                canvas.circle(x, y, shape.radius * scale, 0, 1)
            case Words():
                align = {"start": "left", "middle": "middle", "end": "right"}[shape.anchor]
                x, y = left + shape.x * scale, top - shape.y * scale
                text = self._typography.clean(shape.text)
                color = HexColor(shape.color)
                self._pages.text(text, x, y, size=shape.size * scale, color=color, align=align)
            case Line():
                self._draw_line(shape, top, scale)

    def _draw_line(self, line: Line, top: float, scale: float) -> None:
        canvas, left = self._pages.canvas, self._pages.left
        canvas.setStrokeColor(HexColor(line.color))
        canvas.setLineWidth(line.width * scale)
        canvas.setDash([3, 2] if line.dashed else [])
        path = canvas.beginPath()
        (first_x, first_y), *others = line.points
        path.moveTo(left + first_x * scale, top - first_y * scale)
        for x, y in others:
            path.lineTo(left + x * scale, top - y * scale)
        canvas.drawPath(path, stroke=1, fill=0)
        canvas.setDash([])


def _fits(text: str, size: float, room: float) -> bool:
    return width_of(text, size, BOLD) <= room
