"""The template shift-report: which blocks it has, and what they say."""

from collections.abc import Mapping, Sequence
from typing import Any

from lineshaft_contracts.job_types import ShiftFigures

from lineshaft_job_runner.types.reporting.diagrams import draw_hours, draw_pareto
from lineshaft_job_runner.types.reporting.numerals import ABSENT, Numerals
from lineshaft_job_runner.types.reporting.pages import ACCENT, SOFT, Pages
from lineshaft_job_runner.types.reporting.shift import Shift
from lineshaft_job_runner.types.reporting.tables import TableColumn
from lineshaft_job_runner.types.reporting.typography import BOLD

HEADINGS: Mapping[str, str] = {
    "shift_production": "Production by order",
    "shift_downtime": "Downtime",
    "shift_hourly": "Output by hour",
}
EMPTY = "No production and no downtime was recorded in this shift."


def columns(query: str, numerals: Numerals) -> Sequence[TableColumn]:
    """Return the columns of a table, in the order in which the shift's rows hold them."""
    return _COLUMNS[query](numerals)


def draw_summary(pages: Pages, shift: Shift, figures: ShiftFigures, numerals: Numerals) -> None:
    """Draw the key figures and both diagrams, or say that there was nothing."""
    _draw_figures(pages, figures, numerals)
    if shift.empty:
        pages.paragraph(EMPTY)
        return
    if shift.hours:
        pages.heading("Output by hour", keep=160)
        draw_hours(pages, [(numerals.hour(at), good, scrap) for at, good, scrap in shift.hours])
    reasons = [(pages.typography.clean(reason), minutes) for reason, minutes in shift.reasons()]
    if reasons:
        pages.heading("Downtime by reason", keep=160)
        draw_pareto(pages, reasons)


def _draw_figures(pages: Pages, figures: ShiftFigures, numerals: Numerals) -> None:
    boxes = (
        ("Orders", numerals.integer(figures.orders)),
        ("Good", numerals.integer(figures.good)),
        ("Scrap", numerals.integer(figures.scrap)),
        ("Rework", numerals.integer(figures.rework)),
        ("Quality ratio", numerals.percent(figures.quality_ratio)),
        ("Scrap ratio", numerals.percent(figures.scrap_ratio)),
        ("Downtime (min)", numerals.decimal(figures.downtime_minutes)),
        ("Downtime events", numerals.integer(figures.downtime_events)),
    )
    width, height, gap = (pages.width - 18) / 4, 34.0, 6.0
    for start in (0, 4):
        top = pages.reserve(height + gap)
        for place, (name, value) in enumerate(boxes[start : start + 4]):
            x = pages.left + place * (width + gap)
            pages.canvas.setStrokeColor(SOFT)
            pages.canvas.roundRect(x, top - height, width, height, 3, 1, 0)
            pages.text(name, x + 6, top - 11, size=7)
            pages.text(value, x + 6, top - 27, size=13, font=BOLD, color=ACCENT)


def _text(value: Any) -> str:
    return ABSENT if value is None else str(value)


def _count(name: str, title: str, numerals: Numerals) -> TableColumn:
    return TableColumn(name=name, title=title, share=1.1, write=numerals.integer, right=True)


def _production(numerals: Numerals) -> Sequence[TableColumn]:
    return (
        TableColumn(name="order_id", title="Order", share=2.9, write=_text),
        TableColumn(name="product", title="Product", share=2.4, write=_text),
        TableColumn(name="line", title="Line", share=1.2, write=_text),
        _count("good", "Good", numerals),
        _count("scrap", "Scrap", numerals),
        _count("rework", "Rework", numerals),
        TableColumn(name="started_at", title="Started", share=2.3, write=numerals.moment),
        TableColumn(name="finished_at", title="Finished", share=2.3, write=numerals.moment),
    )


def _downtime(numerals: Numerals) -> Sequence[TableColumn]:
    return (
        TableColumn(name="line", title="Line", share=2, write=_text),
        TableColumn(name="reason", title="Reason", share=5, write=_text),
        TableColumn(
            name="minutes", title="Minutes", share=1.5, write=numerals.decimal, right=True
        ),
        _count("events", "Events", numerals),
    )


def _hourly(numerals: Numerals) -> Sequence[TableColumn]:
    return (
        TableColumn(name="hour", title="Hour", share=3, write=numerals.moment),
        _count("good", "Good", numerals),
        _count("scrap", "Scrap", numerals),
    )


_COLUMNS = {
    "shift_production": _production,
    "shift_downtime": _downtime,
    "shift_hourly": _hourly,
}
