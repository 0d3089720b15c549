"""Control charts for attributes: p, np, c and u, with limits for each size of sample."""

from dataclasses import dataclass

import numpy as np
from lineshaft_contracts.spc import ChartKind

from lineshaft_job_runner.types.spc.panels import Array, Mask, Panel

SIGMAS = 3.0
LABELS = {
    ChartKind.P: "Fraction nonconforming",
    ChartKind.NP: "Nonconforming units",
    ChartKind.C: "Nonconformities",
    ChartKind.U: "Nonconformities per unit",
}


@dataclass(frozen=True, kw_only=True)
class AttributeChart:
    """The one panel, and its points in their own standard deviations."""

    panel: Panel
    z: Array | None
    """None without limits."""


def chart(
    counts: Array, sizes: Array, kind: ChartKind, phase1: Mask, *, center: float | None = None
) -> AttributeChart:
    """Plot counts in samples of these sizes; NaN is missing, and c has the size 1 throughout.

    `center` is a known fraction (p, np) or rate per unit (c, u); else it is estimated from the
    points of phase I. Source: Montgomery, Introduction to Statistical Quality Control, chapter 7.
    """
    values = counts if kind in {ChartKind.NP, ChartKind.C} else counts / sizes
    rate = _rate(counts, sizes, phase1) if center is None else center
    of_units = kind in {ChartKind.P, ChartKind.NP}
    most = 1.0 if of_units else np.inf
    if not 0 < rate < most:
        return AttributeChart(
            panel=Panel(name="location", label=LABELS[kind], values=values), z=None
        )
    # Every sample of one size has the same limits; missing sizes have none.
    scale: Array | float = sizes
    if sizes.size and (sizes == sizes[0]).all():
        scale = float(sizes[0])
    variance = rate * (1 - rate) if of_units else rate
    deviation = np.sqrt(variance / scale)
    factor = scale if kind is ChartKind.NP else 1.0
    upper, lower = (rate + side * SIGMAS * deviation for side in (1, -1))
    middle = rate * factor
    panel = Panel(
        name="location",
        label=LABELS[kind],
        values=values,
        center=float(np.nanmean(middle)) if isinstance(middle, np.ndarray) else float(middle),
        lower=_clipped(lower * factor, 0.0, np.inf),
        upper=_clipped(upper * factor, 0.0, most * factor),
    )
    return AttributeChart(panel=panel, z=(values - middle) / (deviation * factor))


def _rate(counts: Array, sizes: Array, phase1: Mask) -> float:
    units = float(sizes[phase1].sum())
    return float(counts[phase1].sum()) / units if units > 0 else float("nan")


def _clipped(limit: Array | float, least: float, most: Array | float) -> Array | float:
    bounded = np.minimum(np.maximum(limit, least), most)
    return bounded if isinstance(limit, np.ndarray) else float(bounded)
