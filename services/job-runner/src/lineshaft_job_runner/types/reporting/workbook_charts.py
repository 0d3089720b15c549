"""Charts of a spreadsheet: its own kind, drawn from cells that hold their values."""

from collections.abc import Sequence
from typing import Any, assert_never

from xlsxwriter.format import Format
from xlsxwriter.workbook import Workbook
from xlsxwriter.worksheet import Worksheet

from lineshaft_job_runner.types.reporting.document import Bars, Chart, Form, Tone, Trace
from lineshaft_job_runner.types.reporting.style import SOFT, TONES

CHART_ROWS = 16
CHART_SIZE = {"width": 760, "height": 300}
FONT = {"size": 9}


def write_charts(
    book: Workbook, sheet: Worksheet, charts: Sequence[Chart], line: int, head: Format
) -> None:
    """Write the values of all charts below each other, each with its chart beside it."""
    places: list[tuple[int, Any]] = []
    for chart in charts:
        header, rows = _cells(chart)
        sheet.write_string(line, 0, chart.title, head)
        for column, title in enumerate(header, start=1):
            sheet.write_string(line, column, title, head)
        for offset, (label, values) in enumerate(rows, start=1):
            sheet.write_string(line + offset, 0, label)
            for column, value in enumerate(values, start=1):
                if value is not None:
                    sheet.write_number(line + offset, column, value)
        places.append((line, _chart(book, chart, line, len(rows))))
        line += max(len(rows) + 2, CHART_ROWS)
    for place, drawn in places:
        sheet.insert_chart(place, 8, drawn)


def _cells(chart: Chart) -> tuple[list[str], list[tuple[str, list[float | None]]]]:
    match chart:
        case Bars():
            columns = [list(series.values) for series in chart.series]
            header = [series.title for series in chart.series]
            if chart.running_share:
                total, running = sum(columns[0]) or 1.0, 0.0
                shares: list[float] = []
                for value in columns[0]:
                    running += value
                    shares.append(running / total)
                columns.append(shares)
                header.append("Running share")
            rows = [
                (label, list[float | None](values))
                for label, *values in zip(chart.labels, *columns, strict=True)
            ]
            return header, rows
        case Trace():
            levels = list(chart.lines.values())
            rows = [
                (str(number), [value, *levels])
                for number, value in enumerate(chart.values, start=1)
            ]
            return ["Point", *chart.lines], rows
        case _:
            assert_never(chart)


def _chart(book: Workbook, chart: Chart, line: int, rows: int) -> Any:
    match chart:
        case Bars():
            drawn = _bars(book, chart, line, rows)
        case Trace():
            drawn = _trace(book, chart, line, rows)
        case _:
            assert_never(chart)
    drawn.set_title({"name": chart.title, "name_font": {"size": 11}})
    drawn.set_legend({"position": "bottom", "font": FONT})
    drawn.set_size(CHART_SIZE)
    return drawn


def _bars(book: Workbook, chart: Bars, line: int, rows: int) -> Any:
    kind = {"type": "column", "subtype": "stacked"} if chart.stacked else {"type": "column"}
    drawn: Any = book.add_chart(kind)
    for column, series in enumerate(chart.series, start=1):
        fill = {"color": TONES[series.tone]}
        drawn.add_series({**_series(line, rows, column), "fill": fill, "gap": 60})
    grid = {"visible": True, "line": {"color": SOFT}}
    number_format = "0%" if chart.form is Form.RATIO else "#,##0"
    drawn.set_y_axis({"num_format": number_format, "major_gridlines": grid, "num_font": FONT})
    drawn.set_x_axis({"num_font": FONT})
    if chart.running_share:
        shares: Any = book.add_chart({"type": "line"})
        column = len(chart.series) + 1
        style = {"line": {"color": TONES[Tone.BAD], "width": 1.5}, "y2_axis": True}
        shares.add_series({**_series(line, rows, column), **style})
        shares.set_y2_axis({"num_format": "0%", "min": 0, "max": 1, "num_font": FONT})
        drawn.combine(shares)
    return drawn


def _trace(book: Workbook, chart: Trace, line: int, rows: int) -> Any:
    drawn: Any = book.add_chart({"type": "line"})
    tones = [Tone.ACCENT, *(Tone.GOOD if name == "CL" else Tone.BAD for name in chart.lines)]
    for column, tone in enumerate(tones, start=1):
        style: dict[str, Any] = {"line": {"color": TONES[tone], "width": 1}}
        if column == 1:
            style["marker"] = {"type": "circle", "size": 3, "fill": {"color": TONES[tone]}}
        drawn.add_series({**_series(line, rows, column), **style})
    levels = [*(v for v in chart.values if v is not None), *chart.lines.values()]
    if levels:
        margin = (max(levels) - min(levels)) * 0.1
        drawn.set_y_axis(
            {"min": min(levels) - margin, "max": max(levels) + margin, "num_font": FONT}
        )
    drawn.set_x_axis(
        {"num_font": FONT, "interval_unit": max(1, rows // 20), "label_position": "low"}
    )
    return drawn


def _series(line: int, rows: int, column: int) -> dict[str, Any]:
    return {
        "name": ["Summary", line, column],
        "categories": ["Summary", line + 1, 0, line + rows, 0],
        "values": ["Summary", line + 1, column, line + rows, column],
    }
