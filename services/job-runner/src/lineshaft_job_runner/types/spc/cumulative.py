"""Control charts with a memory, for small shifts: EWMA and CUSUM."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from lineshaft_job_runner.types.spc.panels import Array, Panel, PanelName
from lineshaft_job_runner.types.spc.rules import Findings

Indices = NDArray[np.int64]


def weighted(points: Array, *, center: float, sigma: float, weight: float, sigmas: float) -> Panel:
    """Plot the exponentially weighted moving average, which starts at the centre.

    `sigma` is the standard deviation of one point. A missing point (NaN) changes nothing: the
    average goes on from the one before. The limits are the exact ones, which widen at first.
    Source: Montgomery, section 9.2; Lucas and Saccucci, Technometrics 32(1), 1990.
    """
    seen = np.flatnonzero(~np.isnan(points))
    average, reach = (np.full(points.size, np.nan) for _ in range(2))
    keep = 1 - weight
    # Distances from the centre, so that a large one costs no digits.
    moved = lfilter([weight], [1.0, -keep], points[seen] - center)
    average[seen] = center + np.asarray(moved)
    # 1 - (1 - weight)^(2 i), with all digits for a tiny weight.
    decay = -np.expm1(2 * np.arange(1, seen.size + 1) * np.log1p(-weight)) if keep else 1.0
    reach[seen] = sigmas * sigma * np.sqrt(weight / (2 - weight) * decay)
    return Panel(
        name="location",
        label="Weighted mean",
        values=average,
        center=center,
        lower=center - reach,
        upper=center + reach,
    )


@dataclass(frozen=True, kw_only=True)
class CumulativeSums:
    """Sums of the deviations above and below the centre, in standard deviations of a point."""

    upper: Panel
    lower: Panel
    upper_findings: Findings
    lower_findings: Findings


def summed(
    points: Array, *, center: float, sigma: float, slack: float, interval: float
) -> CumulativeSums:
    """Plot the tabular cumulative sums; a missing point (NaN) leaves them as they are.

    A signal starts with the point after the sum was zero last: about there the shift began.
    Source: Montgomery, section 9.1; NIST/SEMATECH e-Handbook 6.3.2.3.
    """
    seen = np.flatnonzero(~np.isnan(points))
    z = (points[seen] - center) / sigma
    upper, upper_findings = _one_side(z - slack, seen, points.size, interval)
    lower, lower_findings = _one_side(-z - slack, seen, points.size, interval)
    return CumulativeSums(
        upper=_panel("upper_sum", "Upper sum (sigma)", upper, 0.0, interval),
        lower=_panel("lower_sum", "Lower sum (sigma)", -lower, -interval, 0.0),
        upper_findings=upper_findings,
        lower_findings=lower_findings,
    )


def _panel(name: PanelName, label: str, values: Array, lower: float, upper: float) -> Panel:
    return Panel(name=name, label=label, values=values, center=0.0, lower=lower, upper=upper)


def _one_side(steps: Array, seen: Indices, count: int, interval: float) -> tuple[Array, Findings]:
    total = np.cumsum(steps)
    # max(0, S + step) at every step is the running total above its lowest value so far.
    sums = total - np.minimum(np.minimum.accumulate(total), 0.0) if total.size else total
    places = np.arange(sums.size)
    last_zero = np.maximum.accumulate(np.where(sums <= 0, places, -1)) if sums.size else places
    found = np.flatnonzero(sums > interval)
    values = np.full(count, np.nan)
    values[seen] = sums
    return values, Findings(points=seen[found], starts=seen[last_zero[found] + 1])
