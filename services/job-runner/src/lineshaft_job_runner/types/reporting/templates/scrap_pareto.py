"""Template scrap-pareto: which defects cost the most pieces, and where."""

from collections import defaultdict
from collections.abc import Mapping
from typing import ClassVar

from lineshaft_contracts.reports import ReportParameters

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.reporting.document import Column, Figure, Form, Row, Tone
from lineshaft_job_runner.types.reporting.numerals import Numerals
from lineshaft_job_runner.types.reporting.ranking import NAME_MAX, pareto, ranked, with_shares
from lineshaft_job_runner.types.reporting.template import (
    Content,
    MadeTable,
    SavedTable,
    Template,
)

DEFECTS_SHOWN = 100
VITAL = 0.8
"""The share that the vital few make (J. M. Juran, Quality Control Handbook)."""
BY_DEFECT = (
    Column(name="defect", title="Defect", share=4),
    Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.3),
    Column(name="share", title="Share", form=Form.RATIO, share=1.2),
    Column(name="running_share", title="Running", form=Form.RATIO, share=1.2),
)
SCRAP = SavedTable(
    title="Scrap by product, line and defect",
    columns=(
        Column(name="product", title="Product", share=2.5),
        Column(name="line", title="Line", share=1.5),
        Column(name="defect", title="Defect", share=3),
        Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.3),
    ),
)


class ScrapPareto(Template):
    """Scrap by defect and by product, most first."""

    title = "Scrap Pareto"
    empty = "No scrap was recorded in this period."
    queries: ClassVar[Mapping[str, SavedTable]] = {"scrap_by_defect": SCRAP}

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        self._defects: defaultdict[str, int] = defaultdict(int)
        self._products: defaultdict[str, int] = defaultdict(int)

    def add(self, query: str, row: Row) -> None:
        """Add pieces up."""
        product, _line, defect, scrap = row
        self._defects[defect or "unknown"] += scrap or 0
        self._products[product or "unknown"] += scrap or 0

    async def content(self, context: JobContext) -> Content:
        """Say which defects are the vital few."""
        order = ranked(self._defects)
        rows = with_shares(order, [scrap for _, scrap in order])
        before_last = [row for row in rows if row[3] is not None and row[3] - row[2] < VITAL]
        scrap = sum(self._defects.values())
        figures = (
            Figure(name="scrap", title="Scrap", value=scrap, tone=Tone.BAD),
            Figure(name="defects", title="Defects", value=len(order)),
            Figure(name="vital_defects", title="Make 80 %", value=len(before_last)),
            Figure(
                name="first_defect",
                title="Most frequent",
                value=order[0][0][:NAME_MAX] if order else None,
                form=Form.TEXT,
            ),
        )
        charts = [
            *pareto("Scrap by defect", "Pieces", self._defects, form=Form.COUNT),
            *pareto("Scrap by product", "Pieces", self._products, form=Form.COUNT),
        ]
        return Content(figures=figures, charts=charts, tables=_made(rows))


def _made(rows: list[Row]) -> list[MadeTable]:
    shown = rows[:DEFECTS_SHOWN]
    if not shown:
        return []
    title = "Defects" if len(rows) == len(shown) else f"The first {len(shown)} defects"
    return [MadeTable(name="defects", title=title, columns=BY_DEFECT, rows=shown)]
