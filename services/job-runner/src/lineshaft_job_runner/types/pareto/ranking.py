"""Categories ranked by weight."""

from collections import defaultdict
from dataclasses import dataclass
from itertools import accumulate
from math import fsum, isfinite
from typing import Any

from lineshaft_contracts.pareto import ParetoCategory, ParetoParameters

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.quality.reading import NUMBERS, label, read

ITEMS_MAX = 1_000_000
CATEGORIES_MAX = 10_000


@dataclass(frozen=True, kw_only=True)
class Items:
    """Weights by category, and what could not be counted."""

    weights: dict[str, float]
    items: int
    missing: int
    """Items without category or weight."""


async def gather(context: JobContext, parameters: ParetoParameters) -> Items:
    """Add up the weight of each category, from the parameters or the data source."""
    query = parameters.items_query
    if query is None:
        tally = Tally()
        for item in parameters.items or ():
            tally.add(item.category, item.weight)
        return tally.items()
    # A weight of one for each row reads the category twice.
    wanted = [
        (query.category_column, None),
        (query.weight_column or query.category_column, NUMBERS if query.weight_column else None),
    ]
    tally = Tally()
    async for batch in read(context, query, wanted, what="items", rows_max=ITEMS_MAX):
        for category, weight in batch:
            tally.add(category, weight if query.weight_column else 1.0)
    return tally.items()


class Tally:
    """Weights so far; sums are exact, so that the order of the items does not matter."""

    def __init__(self) -> None:
        self._parts: defaultdict[str, list[float]] = defaultdict(list)
        self._count = self._missing = 0

    def add(self, category: Any, weight: Any) -> None:
        """Count an item; raises PermanentError for a negative weight or too many categories."""
        self._count += 1
        if category is None or weight is None or not isfinite(float(weight)):
            self._missing += 1
            return
        if weight < 0:
            raise PermanentError("weight_negative", f"category {category!r} has weight {weight}")
        self._parts[label(category)].append(float(weight))
        if len(self._parts) > CATEGORIES_MAX:
            raise PermanentError(
                "too_many_categories",
                f"more than {CATEGORIES_MAX} categories cannot be ranked: take a coarser column",
            )

    def items(self) -> Items:
        """Return the sums."""
        weights = {category: fsum(parts) for category, parts in self._parts.items()}
        return Items(weights=weights, items=self._count, missing=self._missing)


def rank(weights: dict[str, float]) -> tuple[ParetoCategory, ...]:
    """Order from the heaviest down, equal ones by name; no shares of nothing."""
    total = fsum(weights.values())
    if not total > 0:
        return ()
    ordered = sorted(weights.items(), key=lambda one: (-one[1], one[0]))
    reached = accumulate(weight for _, weight in ordered)
    return tuple(
        ParetoCategory(
            category=category,
            weight=weight,
            share=weight / total,
            cumulative_share=min(1.0, above / total),
        )
        for (category, weight), above in zip(ordered, reached, strict=True)
    )


def vital_few(ranked: tuple[ParetoCategory, ...], threshold: float) -> int:
    """Count the categories from the top that reach the threshold, but for a rounding error."""
    for number, category in enumerate(ranked, start=1):
        if category.cumulative_share >= threshold - 1e-12:
            return number
    return len(ranked)
