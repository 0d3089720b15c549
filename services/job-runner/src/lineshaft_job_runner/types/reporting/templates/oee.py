"""Template oee: how much of the planned time each line made good pieces, and its losses."""

from collections.abc import Mapping
from typing import Any, ClassVar

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
from lineshaft_job_runner.types.reporting.effectiveness import Effectiveness
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.ranking import NAME_MAX
from lineshaft_job_runner.types.reporting.template import (
    LABELS_MAX,
    Content,
    MadeTable,
    SavedTable,
    Template,
)
from lineshaft_job_runner.types.reporting.templates.shift_report import DOWNTIME

LINES_DRAWN = 12
UNKNOWN = (None, None, None, None)


def effectiveness_of(row: Row) -> Effectiveness | None:
    """Calculate a line; None when a value is missing, or more time is down than was planned."""
    _line, planned, downtime, cycle, *pieces = row
    if planned is None or cycle is None or not 0 <= (downtime or 0) <= planned:
        return None
    good, scrap, rework = (count or 0 for count in pieces)
    return Effectiveness.of(
        planned_minutes=float(planned),
        downtime_minutes=float(downtime or 0),
        ideal_cycle_seconds=float(cycle),
        produced=good + scrap + rework,
        good=good,
    )


def _ratios(row: Row) -> Row:
    found = effectiveness_of(row)
    if found is None:
        return UNKNOWN
    return found.availability, found.performance, found.quality, found.oee


def _ratio(name: str, title: str) -> Column:
    return Column(name=name, title=title, form=Form.RATIO, share=1.5)


RATIOS = (
    _ratio("availability", "Availability"),
    _ratio("performance", "Performance"),
    _ratio("quality", "Quality"),
    _ratio("oee", "OEE"),
)
BY_LINE = SavedTable(
    title="OEE by line",
    columns=(
        Column(name="line", title="Line", share=1.8),
        Column(name="planned_minutes", title="Planned min", form=Form.AMOUNT, share=1.3),
        Column(name="downtime_minutes", title="Down min", form=Form.AMOUNT, share=1.2),
        Column(name="ideal_cycle_seconds", title="Cycle s", form=Form.MEASURE, share=1.1),
        Column(name="good", title="Good", form=Form.COUNT, share=1.1),
        Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.1),
        Column(name="rework", title="Rework", form=Form.COUNT, share=1.1),
    ),
    derived=RATIOS,
    derive=_ratios,
    rows_max=LABELS_MAX,
)
LOSSES = (
    Column(name="loss", title="Time", share=4),
    Column(name="minutes", title="Minutes", form=Form.AMOUNT, share=1.5),
    Column(name="share", title="Of planned time", form=Form.RATIO, share=1.5),
)


class Oee(Template):
    """Availability x performance x quality by line, with the losses in minutes."""

    title = "Overall equipment effectiveness"
    empty = "No planned time and no production was recorded in this period."
    queries: ClassVar[Mapping[str, SavedTable]] = {
        "oee_by_line": BY_LINE,
        "shift_downtime": DOWNTIME,
    }

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        self._lines: list[tuple[str, Effectiveness]] = []
        self._unknown: list[str] = []

    def add(self, query: str, row: Row) -> None:
        """Calculate a line."""
        if query != "oee_by_line":
            return
        name = (row[0] or "unknown")[:NAME_MAX]
        found = effectiveness_of(row)
        if found is None:
            self._unknown.append(name)
        else:
            self._lines.append((name, found))

    async def content(self, context: JobContext) -> Content:
        """Say what all lines together were worth, and where the time went."""
        total = Effectiveness.total(found for _, found in self._lines)
        values: dict[str, Any] = {
            "availability": total.availability,
            "performance": total.performance,
            "quality": total.quality,
            "oee": total.oee,
        }
        figures = [
            Figure(name=ratio.name, title=ratio.title, value=values[ratio.name], form=Form.RATIO)
            for ratio in RATIOS
        ]
        figures += [
            _minutes("planned_minutes", "Planned (min)", total.planned, Tone.ACCENT),
            _minutes("availability_loss_minutes", "Down (min)", total.downtime, Tone.BAD),
            _minutes(
                "performance_loss_minutes", "Slow (min)", total.performance_loss, Tone.WARNING
            ),
            _minutes("quality_loss_minutes", "Not good (min)", total.quality_loss, Tone.BAD),
        ]
        return Content(
            figures=figures,
            charts=self._charts(),
            tables=[MadeTable(name="losses", title="Losses", columns=LOSSES, rows=_losses(total))]
            if self._lines
            else [],
            notes=self._notes(),
        )

    def _charts(self) -> list[Bars]:
        drawn = sorted(self._lines, key=lambda line: line[1].oee or 0.0)[:LINES_DRAWN]
        if not drawn:
            return []
        labels = [name for name, _ in drawn]
        ratios = (
            ("Availability", Tone.ACCENT, [found.availability or 0.0 for _, found in drawn]),
            ("Performance", Tone.WARNING, [found.performance or 0.0 for _, found in drawn]),
            ("Quality", Tone.GOOD, [found.quality or 0.0 for _, found in drawn]),
            ("OEE", Tone.QUIET, [found.oee or 0.0 for _, found in drawn]),
        )
        minutes = (
            ("Good pieces", Tone.GOOD, [found.ideal_good for _, found in drawn]),
            ("Scrap and rework", Tone.BAD, [found.quality_loss for _, found in drawn]),
            ("Slow", Tone.WARNING, [max(found.performance_loss, 0.0) for _, found in drawn]),
            ("Down", Tone.QUIET, [found.downtime for _, found in drawn]),
        )
        ratio_series = [Series(title=t, values=v, tone=tone) for t, tone, v in ratios]
        minute_series = [Series(title=t, values=v, tone=tone) for t, tone, v in minutes]
        return [
            Bars(
                title="OEE by line, lowest first",
                labels=labels,
                series=ratio_series,
                form=Form.RATIO,
                stacked=False,
            ),
            Bars(
                title="Where the planned minutes went",
                labels=labels,
                series=minute_series,
                form=Form.AMOUNT,
            ),
        ]

    def _notes(self) -> list[str]:
        found: list[str] = []
        if self._unknown:
            found.append(
                f"{', '.join(self._unknown[:10])}: not calculated, because planned time or cycle "
                "time is missing, or downtime exceeds the planned time"
            )
        fast = [name for name, line in self._lines if (line.performance or 0) > 1]
        if fast:
            found.append(
                f"{', '.join(fast[:10])}: performance above 100 %, the cycle time is too long"
            )
        return found


def _minutes(name: str, title: str, value: float, tone: Tone) -> Figure:
    return Figure(name=name, title=title, value=value, form=Form.AMOUNT, tone=tone)


def _losses(total: Effectiveness) -> list[Row]:
    parts = (
        ("Planned", total.planned),
        ("Availability loss: downtime", total.downtime),
        ("Performance loss: slow cycles and small stops", total.performance_loss),
        ("Quality loss: scrap and rework", total.quality_loss),
        ("Good pieces at the planned cycle time", total.ideal_good),
    )
    return [
        (name, minutes, minutes / total.planned if total.planned else None)
        for name, minutes in parts
    ]
