"""Template downtime: every stop, and which reasons and lines they add up to."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

from lineshaft_contracts.reports import ReportParameters

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.reporting.document import Column, Figure, Form, Row, Tone
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.ranking import pareto, ranked, with_shares
from lineshaft_job_runner.types.reporting.template import (
    Content,
    MadeTable,
    SavedTable,
    Template,
)

REASONS_SHOWN = 100
BY_REASON = (
    Column(name="reason", title="Reason", share=4),
    Column(name="events", title="Stops", form=Form.COUNT, share=1.2),
    Column(name="minutes", title="Minutes", form=Form.AMOUNT, share=1.4),
    Column(name="mean_minutes", title="Mean min", form=Form.AMOUNT, share=1.4),
    Column(name="share", title="Share", form=Form.RATIO, share=1.2),
    Column(name="running_share", title="Running", form=Form.RATIO, share=1.2),
)
STOPS = SavedTable(
    title="Stops",
    columns=(
        Column(name="line", title="Line", share=1.6),
        Column(name="work_unit", title="Work unit", share=1.8),
        Column(name="reason", title="Reason", share=3),
        Column(name="started_at", title="Began", form=Form.MOMENT, share=2.2),
        Column(name="finished_at", title="Ended", form=Form.MOMENT, share=2.2),
        Column(name="minutes", title="Minutes", form=Form.AMOUNT, share=1.3),
    ),
)


class Downtime(Template):
    """Stops by reason and by line, then every one of them."""

    title = "Downtime"
    empty = "No downtime was recorded in this period."
    queries: ClassVar[Mapping[str, SavedTable]] = {"downtime_events": STOPS}

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        self._stops: Counter[str] = Counter()
        self._reasons: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._lines: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._longest = Decimal(0)
        self._open = 0

    def add(self, query: str, row: Row) -> None:
        """Add a stop up."""
        line, _unit, reason, _began, ended, minutes = row
        lasted = Decimal(minutes or 0)
        self._stops[reason or "unknown"] += 1
        self._reasons[reason or "unknown"] += lasted
        self._lines[line or "unknown"] += lasted
        self._longest = max(self._longest, lasted)
        self._open += ended is None

    async def content(self, context: JobContext) -> Content:
        """Say what stopped the plant most."""
        stops, minutes = self._stops.total(), float(sum(self._reasons.values()))
        figures = (
            Figure(name="events", title="Stops", value=stops),
            _minutes("minutes", "Downtime (min)", minutes, Tone.BAD),
            _minutes("mean_minutes", "Mean stop (min)", minutes / stops if stops else None),
            _minutes("longest_minutes", "Longest (min)", float(self._longest)),
            Figure(name="open_events", title="Not ended", value=self._open, tone=Tone.WARNING),
        )
        charts = [
            *pareto("Downtime by reason", "Minutes", self._reasons, form=Form.AMOUNT),
            *pareto("Downtime by line", "Minutes", self._lines, form=Form.AMOUNT),
        ]
        return Content(figures=figures, charts=charts, tables=self._by_reason())

    def _by_reason(self) -> list[MadeTable]:
        order = ranked(self._reasons)
        rows = [
            (reason, self._stops[reason], minutes, minutes / self._stops[reason])
            for reason, minutes in order
        ]
        shown = with_shares(rows, [minutes for _, minutes in order])[:REASONS_SHOWN]
        if not shown:
            return []
        title = "Reasons" if len(rows) == len(shown) else f"The first {len(shown)} reasons"
        return [MadeTable(name="reasons", title=title, columns=BY_REASON, rows=shown)]


def _minutes(name: str, title: str, value: float | None, tone: Tone = Tone.ACCENT) -> Figure:
    return Figure(name=name, title=title, value=value, form=Form.AMOUNT, tone=tone)
