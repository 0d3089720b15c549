"""Operating characteristic: how likely a plan accepts a lot of a given quality."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, floor

import numpy as np
from lineshaft_contracts.sampling import AcceptancePoint, Distribution
from scipy.special import bdtr, pdtr

ACCEPTANCE_LEAST = 0.01
"""Curves end a little after the quality that is accepted so seldom."""
MARGIN = 1.3


@dataclass(frozen=True, kw_only=True)
class Characteristic:
    """The curve of one plan: accept with up to `allowed` nonconforming units of `sample_size`."""

    sample_size: int
    allowed: int
    distribution: Distribution
    lot_size: int | None
    """For the hypergeometric distribution."""

    def acceptance(self, quality: float) -> float:
        """Probability of acceptance; `quality` is the fraction nonconforming.

        poisson: nonconformities per unit. hypergeometric: the whole number of units next to it.
        """
        if self.allowed >= self.sample_size and self.distribution is not Distribution.POISSON:
            return 1.0
        match self.distribution:
            case Distribution.BINOMIAL:
                return float(bdtr(self.allowed, self.sample_size, quality))
            case Distribution.POISSON:
                return float(pdtr(self.allowed, self.sample_size * quality))
            case Distribution.HYPERGEOMETRIC:
                return self.acceptance_of(round(quality * (self.lot_size or 0)))

    def acceptance_of(self, nonconforming: int) -> float:
        """Probability of acceptance of the lot with so many nonconforming units."""
        lot = self.lot_size or 0
        return hypergeometric(self.allowed, min(self.sample_size, lot), nonconforming, lot)

    def quality_at(self, probability: float) -> float | None:
        """Find the worst quality that is accepted at least so often; None when all is."""
        if self.distribution is Distribution.HYPERGEOMETRIC:
            lot = self.lot_size or 0
            if self.acceptance_of(lot) >= probability:
                return None
            return last_where(lambda units: self.acceptance_of(units) >= probability, 0, lot) / lot
        worst = 1.0
        while self.acceptance(worst) >= probability:
            if self.distribution is Distribution.BINOMIAL:
                return None
            worst *= 2
        least = 0.0
        while worst - least > 1e-15 * worst:
            middle = (least + worst) / 2
            if middle in {least, worst}:
                break
            if self.acceptance(middle) >= probability:
                least = middle
            else:
                worst = middle
        return least

    def points(self, count: int) -> tuple[AcceptancePoint, ...]:
        """Return up to `count` points, from a perfect lot to one that is hardly ever accepted."""
        last = (self.quality_at(ACCEPTANCE_LEAST) or 1.0) * MARGIN
        if self.distribution is not Distribution.POISSON:
            last = min(last, 1.0)
        qualities = np.linspace(0, last, count)
        if self.distribution is Distribution.HYPERGEOMETRIC:
            lot = self.lot_size or 1
            qualities = np.unique(np.round(qualities * lot)) / lot
        return tuple(
            AcceptancePoint(quality=quality, acceptance=self.acceptance(quality))
            for quality in qualities.tolist()
        )


def hypergeometric(allowed: int, sample: int, nonconforming: int, lot: int) -> float:
    """P(at most `allowed` of the nonconforming units of a lot are in a sample).

    From the first term with a probability, and the ratios of each to the one before: no
    difference of large logarithms, so that the digits stay for a lot of any size.
    """
    good = lot - nonconforming
    first = max(0, sample - good)
    last = min(allowed, sample, nonconforming)
    if last < first:
        return 0.0
    if last == min(sample, nonconforming):
        return 1.0
    if first == 0:
        # None of them is in the sample; sample and nonconforming units may change places.
        few, many = sorted((sample, nonconforming))
        start = float(np.log1p(-many / (lot - np.arange(few))).sum())
    else:
        # All good units are in the sample.
        taken = np.arange(good)
        start = float(np.log((sample - taken) / (lot - taken)).sum())
    term = np.arange(first, last, dtype=np.float64)
    ratios = np.log((nonconforming - term) / (term + 1)) + np.log(
        (sample - term) / (good - sample + term + 1)
    )
    logarithms = start + np.concatenate(([0.0], np.cumsum(ratios)))
    largest = float(logarithms.max())
    return min(1.0, exp(largest) * float(np.exp(logarithms - largest).sum()))


def last_where(holds: Callable[[int], bool], least: int, most: int) -> int:
    """Find the last number in [least, most] for which it holds, given that it does for least."""
    while least < most:
        middle = floor((least + most + 1) / 2)
        if holds(middle):
            least = middle
        else:
            most = middle - 1
    return least
