"""Categories ranked by weight, exactly: sums do not depend on the order of the rows."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import accumulate
from math import fsum, isfinite
from typing import Any

from lineshaft_contracts.pareto import ParetoCategory, ParetoParameters

from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.quality.reading import NUMBERS, read

CATEGORIES_MAX = 100_000


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
        return add_up((item.category, item.weight) for item in parameters.items or ())
    # A weight of one for each row reads the category twice.
    wanted = [
        (query.category_column, None),
        (query.weight_column or query.category_column, NUMBERS if query.weight_column else None),
    ]
    rows = [row async for batch in read(context, query, wanted, what="items") for row in batch]
    if query.weight_column is None:
        rows = [(category, 1.0) for category, _ in rows]
    return add_up(rows)


def add_up(rows: Iterable[tuple[Any, ...]]) -> Items:
    """Sum by category; raises PermanentError for a negative weight or too many categories."""
    collected: defaultdict[str, list[float]] = defaultdict(list)
    count = missing = 0
    for category, weight in rows:
        count += 1
        if category is None or weight is None or not isfinite(float(weight)):
            missing += 1
            continue
        if weight < 0:
            raise PermanentError("weight_negative", f"category {category!r} has weight {weight}")
        collected[str(category)].append(float(weight))
    if len(collected) > CATEGORIES_MAX:
        raise PermanentError(
            "too_many_categories",
            f"{len(collected)} categories; {CATEGORIES_MAX} can be ranked: take a coarser column",
        )
    weights = {category: fsum(parts) for category, parts in collected.items()}
    return Items(weights=weights, items=count, missing=missing)


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
