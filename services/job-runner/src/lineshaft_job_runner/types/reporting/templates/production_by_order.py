"""Template production-by-order: what each order was to bring, and what it brought."""

from collections import defaultdict
from collections.abc import Mapping
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
from lineshaft_job_runner.types.reporting.ranking import NAME_MAX
from lineshaft_job_runner.types.reporting.template import Content, SavedTable, Template
from lineshaft_job_runner.types.reporting.templates.pieces import Pieces

PRODUCTS_DRAWN = 10
QUANTITY, DUE, FINISHED = 3, 7, 9


def _fulfilled(row: Row) -> Row:
    return ((row[4] or 0) / row[QUANTITY] if row[QUANTITY] else None,)


def _is_late(row: Row) -> bool:
    due, finished = row[DUE], row[FINISHED]
    return due is not None and finished is not None and finished > due


ORDERS = SavedTable(
    title="Orders",
    columns=(
        Column(name="order_id", title="Order", share=2.9),
        Column(name="product", title="Product", share=2.1),
        Column(name="line", title="Line", share=1.2),
        Column(name="quantity", title="Ordered", form=Form.COUNT, share=1.3),
        Column(name="good", title="Good", form=Form.COUNT, share=1.1),
        Column(name="scrap", title="Scrap", form=Form.COUNT, share=1.1),
        Column(name="rework", title="Rework", form=Form.COUNT, share=1.2),
        Column(name="due_at", title="Due", form=Form.MOMENT, share=2.3),
        Column(name="started_at", title="Started", form=Form.MOMENT, share=2.3),
        Column(name="finished_at", title="Finished", form=Form.MOMENT, share=2.3),
    ),
    derived=(Column(name="fulfilled", title="Done", form=Form.RATIO, share=1.3),),
    derive=_fulfilled,
)


class ProductionByOrder(Template):
    """Orders with their quantities, and what was made of each product."""

    title = "Production by order"
    empty = "No order was worked on in this period."
    queries: ClassVar[Mapping[str, SavedTable]] = {"production_by_order": ORDERS}

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        super().__init__(parameters, numerals)
        self._orders = 0
        self._finished = 0
        self._late = 0
        self._ordered = 0
        self._all = Pieces()
        self._products: defaultdict[str, Pieces] = defaultdict(Pieces)

    def add(self, query: str, row: Row) -> None:
        """Add an order up."""
        self._orders += 1
        self._finished += row[FINISHED] is not None
        self._late += _is_late(row)
        self._ordered += row[QUANTITY] or 0
        self._all.add(*row[4:7])
        self._products[row[1] or "unknown"].add(*row[4:7])

    async def content(self, context: JobContext) -> Content:
        """Say how much of what was ordered is there."""
        late = Tone.BAD if self._late else Tone.GOOD
        figures = (
            Figure(name="orders", title="Orders", value=self._orders),
            Figure(name="finished", title="Finished", value=self._finished, tone=Tone.GOOD),
            Figure(name="late", title="Finished late", value=self._late, tone=late),
            Figure(name="ordered", title="Ordered", value=self._ordered),
            *self._all.figures(),
        )
        return Content(figures=figures, charts=self._by_product())

    def _by_product(self) -> list[Bars]:
        order = sorted(self._products.items(), key=lambda item: (-item[1].made, item[0]))
        drawn = [(name, pieces) for name, pieces in order[:PRODUCTS_DRAWN] if pieces.made]
        if not drawn:
            return []
        series = [
            Series(title="Good", values=[one.good for _, one in drawn], tone=Tone.GOOD),
            Series(title="Scrap", values=[one.scrap for _, one in drawn], tone=Tone.BAD),
            Series(title="Rework", values=[one.rework for _, one in drawn], tone=Tone.WARNING),
        ]
        return [
            Bars(
                title="Pieces by product",
                labels=[name[:NAME_MAX] for name, _ in drawn],
                series=series,
            )
        ]
