"""Parameters and result of the analysis `pareto` of quality.analyze: the vital few."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, StringConstraints, model_validator

from lineshaft_contracts.envelope import Value
from lineshaft_contracts.job_parameters import (
    FileStem,
    JobParameters,
    JobResult,
    Name,
    SourceQuery,
    Title,
)

Category = Annotated[str, StringConstraints(min_length=1, max_length=200)]


class ParetoQuery(SourceQuery):
    """Where items come from: any number of rows per category, in any order."""

    category_column: Name = "category"
    """Such as the scrap reason; rows where it is NULL are left out, and said."""
    weight_column: Name | None = None
    """Pieces, minutes or money; null: each row counts as one."""


class ParetoItem(BaseModel):
    """Something that happened."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    category: Category | None
    """null: not known."""
    weight: Annotated[FiniteFloat, Field(ge=0)] | None = 1.0
    """null: not known."""


class ParetoParameters(JobParameters):
    """Rank categories by weight and find the few that make up most of it."""

    analysis: Literal["pareto"]
    items_query: ParetoQuery | None = None
    """Read the items from a data source."""
    items: Annotated[tuple[ParetoItem, ...], Field(max_length=5_000)] | None = None
    """Or give them here."""
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.8
    """Share of the whole, 0 to 1, that the vital few make up."""
    missing_ratio_max: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Share of items, 0 to 1, that may lack category or weight before that is too many."""
    bars_max: Annotated[int, Field(ge=1, le=100)] = 20
    """Categories drawn; the rest is one bar."""
    title: Title = "Pareto"
    """Headline of the chart."""
    unit: Annotated[str, StringConstraints(max_length=32)] = ""
    """Unit of the weight."""
    file_name: FileStem = "pareto"
    """Name of the artifacts without suffix."""

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.items_query is None) == (self.items is None):
            raise ValueError("give either items_query or items")
        return self


class ParetoCategory(Value):
    """One category; shares are 0 to 1."""

    category: str
    weight: float
    share: float
    cumulative_share: float
    """Of this one and all above it."""


class ParetoResult(JobResult):
    """Categories from the heaviest down; equal ones by name."""

    analysis: Literal["pareto"] = "pareto"
    status: Literal["complete", "insufficient_data"]
    """insufficient_data: nothing weighs anything, or too many items lack something."""
    total: float
    category_count: int
    vital_few: int
    """So many categories from the top reach the threshold; 0 for insufficient_data."""
    categories: Annotated[tuple[ParetoCategory, ...], Field(max_length=50)] = ()
    """The first ones; the JSON artifact has all."""
