"""What a template is: the saved queries it needs, and what it makes of their rows."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from lineshaft_contracts.reports import ReportParameters

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.reporting.document import Chart, Column, Figure, Row
from lineshaft_job_runner.types.reporting.numerals import Numerals

ROWS_MAX = 200_000
"""Of one table; nobody reads more on paper, data.export writes it to a file."""
LABELS_MAX = 1_000
"""Rows of a query that a chart draws one by one."""


@dataclass(frozen=True, kw_only=True)
class SavedTable:
    """A saved query of the source, which is shown as a table, row by row."""

    title: str
    columns: Sequence[Column]
    """Taken from the query, by name and in this order."""
    derived: Sequence[Column] = ()
    """Behind them, calculated from each row by `derive`."""
    derive: Callable[[Row], Row] = lambda _row: ()
    rows_max: int = ROWS_MAX


@dataclass(frozen=True, kw_only=True)
class MadeTable:
    """A short table that the template made of rows that it read."""

    name: str
    title: str
    columns: Sequence[Column]
    rows: Sequence[Row]


@dataclass(frozen=True, kw_only=True)
class Content:
    """What a template found out."""

    figures: Sequence[Figure]
    charts: Sequence[Chart] = ()
    tables: Sequence[MadeTable] = ()
    """Before the tables of the queries."""
    notes: Sequence[str] = ()
    """Oddities of the data, also said as warnings of the job."""


class Template(ABC):
    """One kind of report; it is given every row of its queries once, then asked what it says."""

    title: ClassVar[str]
    queries: ClassVar[Mapping[str, SavedTable]]
    """By name of the saved query."""
    empty: ClassVar[str]
    """Said instead of charts when no query gave a row."""

    def __init__(self, parameters: ReportParameters, numerals: Numerals) -> None:
        self.parameters = parameters
        self.numerals = numerals

    def query_parameters(self) -> dict[str, Any]:
        """Return what each of the queries is given."""
        start, end = self.parameters.span
        return {"shift_start": start.isoformat(), "shift_end": end.isoformat()}

    def subject(self) -> str:
        """Say what the report covers."""
        start, end = self.parameters.span
        return f"{self.numerals.zoned(start)} to {self.numerals.zoned(end)}"

    @abstractmethod
    def add(self, query: str, row: Row) -> None:
        """Take one row, with the values of the query's columns."""

    @abstractmethod
    async def content(self, context: JobContext) -> Content:
        """Say what all rows together mean."""
