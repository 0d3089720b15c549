"""A document as every format draws it: figures, charts and tables, without any layout."""

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, TypeAlias

Row: TypeAlias = tuple[Any, ...]


class Form(Enum):
    """What a value is, from which each format knows how to write it; in brackets its type."""

    TEXT = auto()
    """[str]."""
    COUNT = auto()
    """Whole number [int]."""
    AMOUNT = auto()
    """Number with one decimal, such as minutes [int, Decimal, float]."""
    MEASURE = auto()
    """Number with six significant digits [float]."""
    INDEX = auto()
    """Number with two decimals [float]."""
    RATIO = auto()
    """0 to 1, shown as a percentage [float]."""
    MOMENT = auto()
    """Instant [datetime with a zone]."""

    @property
    def is_number(self) -> bool:
        """Whether its values stand at the right, below each other."""
        return self not in {Form.TEXT, Form.MOMENT}


class Tone(Enum):
    """The meaning of a colour."""

    ACCENT = auto()
    GOOD = auto()
    BAD = auto()
    WARNING = auto()
    QUIET = auto()


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of a table."""

    name: str
    title: str
    form: Form = Form.TEXT
    share: float = 1.0
    """Of the table's width, relative to the other columns."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One key figure."""

    name: str
    title: str
    value: int | float | str | None
    form: Form = Form.COUNT
    tone: Tone = Tone.ACCENT


@dataclass(frozen=True, kw_only=True)
class Series:
    """Bars of one colour, one for each label."""

    title: str
    values: Sequence[float]
    tone: Tone


@dataclass(frozen=True, kw_only=True)
class Bars:
    """Bars by label: stacked or side by side."""

    title: str
    labels: Sequence[str]
    series: Sequence[Series]
    form: Form = Form.COUNT
    stacked: bool = True
    running_share: bool = False
    """Also a line of the first series' running sum, as a Pareto chart has."""


@dataclass(frozen=True, kw_only=True)
class Trace:
    """A control chart: points in order, and the lines that they are judged by."""

    title: str
    values: Sequence[float | None]
    flagged: frozenset[int]
    """Indices of points with a signal."""
    lines: Mapping[str, float]
    """Value by name: LCL, CL and UCL."""
    phase1_points: int
    """Points left of the line where the limits were frozen."""


Chart: TypeAlias = Bars | Trace


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """Rows to be read once, in chunks, in the order of the columns."""

    name: str
    title: str
    columns: Sequence[Column]
    rows_expected: int
    chunks: Callable[[], AsyncGenerator[list[Row], None]]


@dataclass(frozen=True, kw_only=True)
class Document:
    """Everything that a report says."""

    title: str
    subtitle: str
    footer: str
    figures: Sequence[Figure]
    charts: Sequence[Chart]
    tables: Sequence[Table]
    notes: Sequence[str]
    """What a reader must know before the numbers."""
