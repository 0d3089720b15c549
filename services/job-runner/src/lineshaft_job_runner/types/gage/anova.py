"""Analysis of variance of a crossed study with two random factors, part and operator."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from lineshaft_contracts.gage import AnovaRow
from scipy.special import fdtrc

from lineshaft_job_runner.types.spc.charts import accurate_mean
from lineshaft_job_runner.types.spc.panels import Array

Source = Literal["part", "operator", "interaction", "repeatability"]


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Estimated variances; one that would be negative is 0."""

    repeatability: float
    operator: float
    interaction: float | None
    """None when it was pooled, or cannot be known."""
    part: float


def table(values: Array) -> tuple[AnovaRow, ...]:
    """Take the variation of values, shape (parts, operators, trials >= 2), apart.

    Parts and operators are tested against the interaction, that against the repeatability. With
    one operator there is neither operator nor interaction, and parts are tested against the
    repeatability. Sums of squares are those of distances from means, so that leading digits that
    all values share cost nothing. Source: Montgomery, Design and Analysis of Experiments, 13.3.
    """
    parts, operators, trials = values.shape
    # One value taken from all of them is exact where they are alike.
    moved = values - values.flat[0]
    moved = moved - accurate_mean(moved.ravel())
    cell = moved.mean(axis=2)
    part, operator = cell.mean(axis=1), cell.mean(axis=0)
    center = part.mean()
    within = _row("repeatability", moved - cell[:, :, None], parts * operators * (trials - 1))
    across = _row("part", part - center, parts - 1, operators * trials)
    if operators == 1:
        return _tested(across, within), within
    both = cell - part[:, None] - operator[None, :] + center
    interaction = _row("interaction", both, (parts - 1) * (operators - 1), trials)
    between = _row("operator", operator - center, operators - 1, parts * trials)
    return (
        _tested(across, interaction),
        _tested(between, interaction),
        _tested(interaction, within),
        within,
    )


def variances(
    rows: tuple[AnovaRow, ...], shape: tuple[int, int, int], *, interaction_alpha: float
) -> Variances:
    """Estimate the components; an interaction with a p-value above alpha is pooled."""
    parts, operators, trials = shape
    found = {row.source: row for row in rows}
    error = found["repeatability"]
    interaction, operator = found.get("interaction"), found.get("operator")
    if interaction is None or operator is None:
        of_parts = (found["part"].mean_square - error.mean_square) / trials
        return Variances(
            repeatability=error.mean_square,
            operator=0.0,
            interaction=None,
            part=max(0.0, of_parts),
        )
    pooled = is_pooled(rows, interaction_alpha)
    noise = error.mean_square
    if pooled:
        noise = (error.sum_of_squares + interaction.sum_of_squares) / (
            error.freedom + interaction.freedom
        )
    beside = noise if pooled else interaction.mean_square
    return Variances(
        repeatability=noise,
        operator=max(0.0, (operator.mean_square - beside) / (parts * trials)),
        interaction=None if pooled else max(0.0, (beside - noise) / trials),
        part=max(0.0, (found["part"].mean_square - beside) / (operators * trials)),
    )


def is_pooled(rows: tuple[AnovaRow, ...], interaction_alpha: float) -> bool:
    """Whether the interaction is so likely by chance that it counts as repeatability.

    One without a p-value, because nothing varies within the cells, is real unless it is 0.
    """
    for row in rows:
        if row.source == "interaction":
            if row.p_value is None:
                return row.sum_of_squares == 0
            return row.p_value > interaction_alpha
    return False


def _row(source: Source, distances: Array, freedom: int, each: int = 1) -> AnovaRow:
    squares = each * float((distances**2).sum())
    return AnovaRow(
        source=source, freedom=freedom, sum_of_squares=squares, mean_square=squares / freedom
    )


def _tested(row: AnovaRow, against: AnovaRow) -> AnovaRow:
    if not against.mean_square > 0:
        return row
    f = row.mean_square / against.mean_square
    p_value = float(np.float64(fdtrc(row.freedom, against.freedom, f)))
    return row.model_copy(update={"f": f, "p_value": p_value})
