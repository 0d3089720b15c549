"""Process capability: indices with confidence intervals, and a test of normality."""

from math import isnan, sqrt

import numpy as np
from lineshaft_contracts.capability import (
    Capability,
    CapabilityVerdict,
    Index,
    Normality,
    Specification,
)
from lineshaft_contracts.spc import Stability
from scipy.special import gammaincinv, log_ndtr, ndtri

from lineshaft_job_runner.types.spc.charts import accurate_deviation, accurate_mean
from lineshaft_job_runner.types.spc.panels import Array

NORMALITY_COUNT_MIN = 8
SIGNIFICANCE = 0.05


def assess(
    values: Array,
    *,
    sigma_within: float,
    specification: Specification,
    stability: Stability,
    confidence: float,
    capability_min: float,
) -> Capability:
    """State every index that the specification allows; the verdict respects stability.

    `values` are the phase I values without missing ones.
    """
    center, overall = accurate_mean(values), accurate_deviation(values)
    within = _Indices(specification, center, sigma_within, values.size, confidence)
    longterm = _Indices(specification, center, overall, values.size, confidence)
    cpk = within.cpk()
    return Capability(
        verdict=_verdict(stability, cpk, capability_min),
        sigma_within=sigma_within,
        sigma_overall=overall,
        cp=within.cp(),
        cpl=within.cpl(),
        cpu=within.cpu(),
        cpk=cpk,
        cpm=within.cpm(),
        pp=longterm.cp(),
        ppk=longterm.cpk(),
        outside_count=_outside(values, specification),
        normality=anderson_darling(values),
    )


def _verdict(stability: Stability, cpk: Index | None, least: float) -> CapabilityVerdict:
    if stability is Stability.OUT_OF_CONTROL:
        return CapabilityVerdict.PROCESS_UNSTABLE
    if stability is Stability.INSUFFICIENT_DATA or cpk is None or cpk.lower is None:
        return CapabilityVerdict.INSUFFICIENT_DATA
    return CapabilityVerdict.CAPABLE if cpk.lower >= least else CapabilityVerdict.NOT_CAPABLE


def _outside(values: Array, specification: Specification) -> int:
    lower = -np.inf if specification.lower is None else specification.lower
    upper = np.inf if specification.upper is None else specification.upper
    return int(((values < lower) | (values > upper)).sum())


class _Indices:
    """Indices for one estimate of sigma, from `count` values.

    Intervals: Cp exact (chi-squared), Cpk by Bissell 1990, Cpm by Boyles 1991, one-sided ones
    as Cpk; the same as Montgomery, section 8.3.
    """

    def __init__(
        self,
        specification: Specification,
        center: float,
        sigma: float,
        count: int,
        confidence: float,
    ) -> None:
        self._lower, self._upper = specification.lower, specification.upper
        self._target = specification.target
        self._center, self._sigma, self._count = center, sigma, count
        self._tail = (1 - confidence) / 2

    @property
    def _defined(self) -> bool:
        return self._count >= 2 and self._sigma > 0 and not isnan(self._sigma)

    def cp(self) -> Index | None:
        """Width of the specification over six sigma."""
        if self._lower is None or self._upper is None or not self._defined:
            return None
        return self._chi_squared(self._ratio(self._upper - self._lower) / 2, self._count - 1)

    def cpl(self) -> Index | None:
        """Distance to the lower limit over three sigma."""
        if self._lower is None or not self._defined:
            return None
        return self._bissell(self._ratio(self._center - self._lower))

    def cpu(self) -> Index | None:
        """Distance to the upper limit over three sigma."""
        if self._upper is None or not self._defined:
            return None
        return self._bissell(self._ratio(self._upper - self._center))

    def cpk(self) -> Index | None:
        """Take the smaller one of Cpl and Cpu."""
        sides = [index for index in (self.cpl(), self.cpu()) if index is not None]
        return min(sides, key=lambda index: index.value, default=None)

    def cpm(self) -> Index | None:
        """Cp that also punishes the distance from the target (Taguchi)."""
        cp = self.cp()
        if cp is None or self._lower is None or self._upper is None:
            return None
        target = (self._lower + self._upper) / 2 if self._target is None else self._target
        shift = ((self._center - target) / self._sigma) ** 2
        freedom = self._count * (1 + shift) / (1 + 2 * shift)
        return self._chi_squared(cp.value / sqrt(1 + shift), freedom)

    def _ratio(self, distance: float) -> float:
        return distance / (3 * self._sigma)

    def _chi_squared(self, value: float, freedom: float) -> Index:
        low, high = (
            sqrt(2 * float(gammaincinv(freedom / 2, tail)) / freedom)
            for tail in (self._tail, 1 - self._tail)
        )
        return Index(value=value, lower=value * low, upper=value * high)

    def _bissell(self, value: float) -> Index:
        reach = -float(ndtri(self._tail)) * sqrt(
            1 / (9 * self._count) + value**2 / (2 * (self._count - 1))
        )
        return Index(value=value, lower=value - reach, upper=value + reach)


def anderson_darling(values: Array) -> Normality:
    """Test normality with estimated mean and deviation; says nothing below 8 values.

    Source: D'Agostino and Stephens, Goodness-of-Fit Techniques, 1986, table 4.9 (case 3).
    """
    count, deviation = int(values.size), accurate_deviation(values)
    if count < NORMALITY_COUNT_MIN or not deviation > 0:
        return Normality(count=count)
    z = (np.sort(values) - accurate_mean(values)) / deviation
    odd = 2 * np.arange(1, count + 1) - 1
    squared = -count - float((odd * (log_ndtr(z) + log_ndtr(-z[::-1]))).sum()) / count
    statistic = squared * (1 + 0.75 / count + 2.25 / count**2)
    p_value = _p_value(statistic)
    return Normality(
        count=count, statistic=statistic, p_value=p_value, normal=p_value >= SIGNIFICANCE
    )


def _p_value(statistic: float) -> float:
    if statistic >= 13:
        return 0.0
    if statistic >= 0.6:
        return float(np.exp(1.2937 - 5.709 * statistic + 0.0186 * statistic**2))
    if statistic >= 0.34:
        return float(np.exp(0.9177 - 4.279 * statistic - 1.38 * statistic**2))
    if statistic >= 0.2:
        return 1 - float(np.exp(-8.318 + 42.796 * statistic - 59.938 * statistic**2))
    return 1 - float(np.exp(-13.436 + 101.14 * statistic - 223.73 * statistic**2))
