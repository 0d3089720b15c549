"""HTML: one file to look at and to print, with its style, charts and pictures inside."""

import base64
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from lineshaft_job_runner.types.reporting import shapes, style
from lineshaft_job_runner.types.reporting.document import Document, Row, Table, Tone
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.plotting import draw

MARKUP = files("lineshaft_job_runner.types.reporting") / "markup"
COLORS = {
    "ink": style.INK,
    "accent": style.ACCENT,
    "soft": style.SOFT,
    "stripe": style.STRIPE,
    "muted": style.MUTED,
    "good-tone": style.TONES[Tone.GOOD],
    "bad-tone": style.TONES[Tone.BAD],
    "warning": style.TONES[Tone.WARNING],
}


class HtmlRenderer:
    """Writes one HTML file; whatever comes from data is escaped."""

    def __init__(
        self,
        path: Path,
        document: Document,
        numerals: Numerals,
        *,
        language: str,
        logo: Path | None,
    ) -> None:
        self._document = document
        self._numerals = numerals
        self._table: Table | None = None
        self.rows = 0
        # Open for as long as rows come; see `close` and `abandon`.
        self._file = path.open("w", encoding="utf-8", newline="\n")
        self._write(
            "head",
            language=language,
            colors=COLORS,
            # The style is a file of this package, and would not work escaped.
            style=Markup(_text("report.css")),  # noqa: S704
            logo=_data_url(logo),
            figures=[
                {
                    "title": figure.title,
                    "value": numerals.writer(figure.form)(figure.value),
                    "tone": figure.tone.name.lower(),
                }
                for figure in document.figures
            ],
            per_row=style.figures_per_row(len(document.figures)),
            charts=[(chart.title, _drawing(draw(chart, numerals))) for chart in document.charts],
        )

    def begin(self, table: Table) -> None:
        """See `Renderer.begin`."""
        self._end_table()
        self._table, self.rows = table, 0
        self._writers = [
            (column.form.is_number, self._numerals.writer(column.form)) for column in table.columns
        ]
        total = sum(column.share for column in table.columns)
        self._write(
            "table",
            table=table,
            count=self._numerals.integer(table.rows_expected),
            part=f"{100 * style.table_part(total):.0f}",
            widths=[f"{100 * column.share / total:.2f}" for column in table.columns],
        )

    def add(self, rows: Sequence[Row]) -> None:
        """See `Renderer.add`."""
        written = [
            [
                (number, write(value))
                for (number, write), value in zip(self._writers, row, strict=True)
            ]
            for row in rows
        ]
        self._write("rows", rows=written)
        self.rows += len(rows)

    def close(self) -> None:
        """See `Renderer.close`."""
        self._end_table()
        self._write("tail")
        self._file.close()

    def abandon(self) -> None:
        """See `Renderer.abandon`."""
        self._file.close()

    def warnings(self) -> Sequence[str]:
        """Everything is shown as it is."""
        return ()

    def _end_table(self) -> None:
        if self._table is not None:
            ending = "</tbody>\n</table>\n" if self._table.rows_expected else ""
            self._file.write(f"{ending}</section>\n")

    def _write(self, name: str, **values: Any) -> None:
        template = _environment().get_template(f"{name}.html.j2")
        self._file.write(template.render(document=self._document, **values))


@cache
def _environment() -> Environment:
    return Environment(
        loader=FunctionLoader(_text),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def _text(name: str) -> str:
    return MARKUP.joinpath(name).read_text(encoding="utf-8")


def _data_url(picture: Path | None) -> str:
    if picture is None:
        return ""
    return f"data:image/png;base64,{base64.b64encode(picture.read_bytes()).decode()}"


def _drawing(drawing: shapes.Drawing) -> Mapping[str, Any]:
    return {
        "width": f"{drawing.width:g}",
        "height": f"{drawing.height:g}",
        "shapes": [_shape(shape) for shape in drawing.shapes],
    }


def _shape(shape: shapes.Shape) -> Mapping[str, Any]:
    """Round coordinates to hundredths of a point, which nobody sees."""
    found: dict[str, Any] = {"kind": type(shape).__name__.lower()}
    for name, value in vars(shape).items():
        found[name] = f"{value:.2f}" if isinstance(value, float) else value
    if isinstance(shape, shapes.Path):
        found["points"] = " ".join(f"{x:.2f},{y:.2f}" for x, y in shape.points)
    return found
