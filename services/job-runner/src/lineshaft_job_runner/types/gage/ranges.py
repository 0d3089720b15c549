"""The average-and-range method: the same components from ranges, without an interaction."""

from math import sqrt

import numpy as np

from lineshaft_job_runner.types.gage.anova import Variances
from lineshaft_job_runner.types.spc.constants import d2, d3
from lineshaft_job_runner.types.spc.panels import Array


def variances(values: Array) -> Variances:
    """Estimate from values, shape (parts, operators, trials >= 2).

    K1 is 1 / d2 of the trials; K2 and K3 are 1 / d2* of one range of operators or parts, as in
    the Measurement Systems Analysis manual of the AIAG, chapter III B.
    """
    parts, operators, trials = values.shape
    repeatability = float(np.ptp(values, axis=2).mean()) / d2(trials)
    between = 0.0
    if operators > 1:
        difference = float(np.ptp(values.mean(axis=(0, 2)))) / single_range(operators)
        between = max(0.0, difference**2 - repeatability**2 / (parts * trials))
    across = float(np.ptp(values.mean(axis=(1, 2)))) / single_range(parts)
    return Variances(
        repeatability=repeatability**2, operator=between, interaction=None, part=across**2
    )


def single_range(size: int) -> float:
    """Return d2* for one range of `size` values: the root of its mean square, in sigma."""
    return sqrt(d2(size) ** 2 + d3(size) ** 2)
