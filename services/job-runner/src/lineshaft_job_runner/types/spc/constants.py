"""Constants of control charts: how range and deviation of a normal sample relate to sigma."""

from functools import cache
from math import exp, lgamma, sqrt

import numpy as np
from scipy.special import ndtr

NODES = 200
SPREAD_MAX = 9.0
"""Normal tails beyond nine sigma weigh less than 1e-18."""


def c4(size: int) -> float:
    """Return the expected sample standard deviation (n - 1) of `size` values, in sigma."""
    return sqrt(2 / (size - 1)) * exp(lgamma(size / 2) - lgamma((size - 1) / 2))


@cache
def d2(size: int) -> float:
    """Return the expected range of `size` values, in sigma (Tippett 1925)."""
    return _range_moments(size)[0]


@cache
def d3(size: int) -> float:
    """Return the standard deviation of the range of `size` values, in sigma."""
    first, second = _range_moments(size)
    return sqrt(second - first**2)


@cache
def _range_moments(size: int) -> tuple[float, float]:
    """E[R] and E[R^2], from P(R > r) by Gauss-Legendre quadrature; good to 1e-12."""
    if size < 2:
        raise ValueError("a range needs two values")
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    lowest = nodes * SPREAD_MAX
    ranges = (nodes + 1) * SPREAD_MAX
    density = np.exp(-(lowest**2) / 2) / sqrt(2 * np.pi)
    # P(R <= r) = n * integral of phi(x) * (Phi(x + r) - Phi(x))^(n - 1) over the smallest value x.
    inside = ndtr(lowest[None, :] + ranges[:, None]) - ndtr(lowest[None, :])
    below = size * SPREAD_MAX * ((inside ** (size - 1) * density) @ weights)
    above = weights * SPREAD_MAX * (1 - below)
    return float(above.sum()), float((2 * ranges * above).sum())
