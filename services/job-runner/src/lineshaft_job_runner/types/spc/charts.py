"""Shewhart control charts for variables: points, and limits that are frozen after phase I."""

from dataclasses import dataclass

import numpy as np
from lineshaft_contracts.spc import ChartKind

from lineshaft_job_runner.types.spc.constants import c4, d2, d3
from lineshaft_job_runner.types.spc.panels import Array, Mask

SIGMAS = 3.0


@dataclass(frozen=True, kw_only=True)
class Points:
    """What is plotted: one location and one dispersion per point, NaN where data is missing."""

    location: Array
    dispersion: Array
    size: int
    """Values per subgroup; 1 for single values."""


@dataclass(frozen=True, kw_only=True)
class ControlLimits:
    """Centre and limits of both charts, in the unit of the values."""

    sigma_within: float
    center: float
    lower: float
    upper: float
    sigma_location: float
    """Standard deviation of a plotted location."""
    dispersion_center: float
    dispersion_lower: float
    dispersion_upper: float


def plot(values: Array, kind: ChartKind) -> Points:
    """Reduce values, shape (points, size), to what the charts show.

    A point with a missing (NaN) value is NaN; so is the moving range beside it.
    """
    if kind is ChartKind.I_MR:
        single = values[:, 0]
        ranges = np.abs(np.diff(single, prepend=np.nan))
        return Points(location=single, dispersion=ranges, size=1)
    location = values.mean(axis=1)
    if kind is ChartKind.XBAR_R:
        dispersion = values.max(axis=1) - values.min(axis=1)
    else:
        dispersion = values.std(axis=1, ddof=1)
    return Points(location=location, dispersion=dispersion, size=values.shape[1])


def estimate(points: Points, kind: ChartKind, phase1: Mask) -> ControlLimits:
    """Estimate three-sigma limits from the phase I points alone.

    Source: Montgomery, Introduction to Statistical Quality Control, chapters 6.2 to 6.4; the
    constants are computed, not taken from rounded tables.
    """
    center = accurate_mean(points.location[phase1 & ~np.isnan(points.location)])
    mean = accurate_mean(points.dispersion[usable_dispersions(points, kind, phase1)])
    unit, _ = _dispersion_constants(points.size, kind)
    return known_limits(points.size, kind, center=center, sigma=mean / unit)


def usable_dispersions(points: Points, kind: ChartKind, phase1: Mask) -> Mask:
    """Choose the dispersions of phase I: a moving range counts when both of its values do."""
    usable = phase1 & ~np.isnan(points.dispersion)
    if kind is ChartKind.I_MR:
        usable &= np.concatenate(([False], phase1[:-1]))
    return usable


def known_limits(size: int, kind: ChartKind, *, center: float, sigma: float) -> ControlLimits:
    """Set three-sigma limits around a centre; `sigma` is that of single values."""
    unit, spread = _dispersion_constants(size, kind)
    sigma_location = float(sigma / np.sqrt(size))
    mean, reach = unit * sigma, SIGMAS * spread * sigma
    return ControlLimits(
        sigma_within=float(sigma),
        center=center,
        lower=float(center - SIGMAS * sigma_location),
        upper=float(center + SIGMAS * sigma_location),
        sigma_location=sigma_location,
        dispersion_center=float(mean),
        dispersion_lower=float(max(0.0, mean - reach)),
        dispersion_upper=float(mean + reach),
    )


def _dispersion_constants(size: int, kind: ChartKind) -> tuple[float, float]:
    """Mean and standard deviation of a plotted dispersion, in sigma."""
    if kind is ChartKind.XBAR_S:
        return c4(size), float(np.sqrt(1 - c4(size) ** 2))
    return d2(max(size, 2)), d3(max(size, 2))


def accurate_mean(values: Array) -> float:
    """Mean by two passes: the second adds what rounding took from the first."""
    if values.size == 0:
        return float("nan")
    first = float(values.mean())
    return first + float((values - first).mean())


def accurate_deviation(values: Array) -> float:
    """Sample standard deviation (n - 1) by the corrected two-pass algorithm.

    Source: Chan, Golub, LeVeque, The American Statistician 37(3), 1983.
    """
    if values.size < 2:
        return float("nan")
    distance = values - accurate_mean(values)
    squares = float((distance**2).sum()) - float(distance.sum()) ** 2 / values.size
    return float(np.sqrt(squares / (values.size - 1)))
