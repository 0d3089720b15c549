"""What a drawn chart consists of, in points from its upper left corner, y downward."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, kw_only=True)
class Box:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    color: str


@dataclass(frozen=True, kw_only=True)
class Path:
    """A line through points."""

    points: Sequence[tuple[float, float]]
    color: str
    width: float = 0.6
    dashed: bool = False


@dataclass(frozen=True, kw_only=True)
class Dot:
    """A filled circle."""

    x: float
    y: float
    radius: float
    color: str


@dataclass(frozen=True, kw_only=True)
class Words:
    """One line of text; y is its baseline, x its left, right or middle."""

    text: str
    x: float
    y: float
    size: float
    color: str
    anchor: Literal["start", "middle", "end"] = "start"


Shape: TypeAlias = Box | Path | Dot | Words


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Shapes from back to front on an area."""

    width: float
    height: float
    shapes: Sequence[Shape]
