"""Template shift-report: what a shift made, hour by hour, and what stopped it."""

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from lineshaft_contracts.reports import ReportParameters

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.reporting.document import (
    Bars,
    Column,
    Figure,
    Form,
    Row,
    Series,
    Tone,
)
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.ranking import pareto
from lineshaft_job_runner.types.reporting.template import (
    LABELS_MAX,
    Content,
    SavedTable,
    Template,
)
from lineshaft_job_runner.types.reporting.templates.pieces import Pieces

PRODUCTION = SavedTable(
    title="Production by order",
    columns=(
        Column(name="order_id", title="Order", share=2.9),
        Column(name="product", title="Product", share=2.4),
        Column(name="line", title="Line", share=1.2),
        Column(name="good", title="Good", form=Form.COUNT, share=1.1),
        Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.1),
        Column(name="rework", title="Rework", form=Form.COUNT, share=1.1),
        Column(name="started_at", title="Started", form=Form.MOMENT, share=2.3),
        Column(name="finished_at", title="Finished", form=Form.MOMENT, share=2.3),
    ),
)
DOWNTIME = SavedTable(
    title="Downtime",
    columns=(
        Column(name="line", title="Line", share=2),
        Column(name="reason", title="Reason", share=5),
        Column(name="minutes", title="Minutes", form=Form.AMOUNT, share=1.5),
        Column(name="events", title="Events", form=Form.COUNT, share=1.1),
    ),
)
HOURLY = SavedTable(
    title="Output by hour",
    columns=(
        Column(name="hour", title="Hour", form=Form.MOMENT, share=3),
        Column(name="good", title="Good", form=Form.COUNT, share=1.1),
        Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.1),
    ),
    rows_max=LABELS_MAX,
)


class ShiftReport(Template):
    """Key figures, output by hour, downtime by reason, and the orders."""

    title = "Shift report"
    empty = "No production and no downtime was recorded in this shift."
    queries: ClassVar[Mapping[str, SavedTable]] = {
        "shift_production": PRODUCTION,
        "shift_downtime": DOWNTIME,
        "shift_hourly": HOURLY,
    }

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        self._orders = 0
        self._pieces = Pieces()
        self._events = 0
        self._minutes: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._hours: list[tuple[datetime, int, int]] = []

    def add(self, query: str, row: Row) -> None:
        """Add a row up."""
        if query == "shift_production":
            self._orders += 1
            self._pieces.add(*row[3:6])
        elif query == "shift_downtime":
            self._minutes[row[1] or "unknown"] += Decimal(row[2] or 0)
            self._events += row[3] or 0
        else:
            self._hours.append((row[0], row[1] or 0, row[2] or 0))

    async def content(self, context: JobContext) -> Content:
        """Say what the shift made."""
        minutes = float(sum(self._minutes.values()))
        figures = (
            Figure(name="orders", title="Orders", value=self._orders),
            *self._pieces.figures(),
            Figure(
                name="downtime_minutes", title="Downtime (min)", value=minutes, form=Form.AMOUNT
            ),
            Figure(name="downtime_events", title="Downtime events", value=self._events),
        )
        charts = [
            *self._by_hour(),
            *pareto("Downtime by reason", "Minutes", self._minutes, form=Form.AMOUNT),
        ]
        return Content(figures=figures, charts=charts)

    def _by_hour(self) -> list[Bars]:
        if not self._hours:
            return []
        good = Series(title="Good", values=[row[1] for row in self._hours], tone=Tone.GOOD)
        scrap = Series(title="Scrap", values=[row[2] for row in self._hours], tone=Tone.BAD)
        labels = [self.numerals.hour(row[0]) for row in self._hours]
        return [Bars(title="Output by hour", labels=labels, series=[good, scrap])]
