"""What a control chart shows: one or two panels of points, with the limits of each point."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from lineshaft_contracts.spc import Limits
from numpy.typing import NDArray

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
PanelName = Literal["location", "dispersion", "upper_sum", "lower_sum"]


@dataclass(frozen=True, kw_only=True)
class Panel:
    """Points, NaN where one is missing, with limits for all of them or for each."""

    name: PanelName
    label: str
    """What its axis shows."""
    values: Array
    center: float | None = None
    """None when no limits can be estimated; so are the limits."""
    lower: Array | float | None = None
    upper: Array | float | None = None

    def limits(self) -> Limits | None:
        """Return the limits, or those of the last point when each has its own."""
        if self.center is None or self.lower is None or self.upper is None:
            return None
        if isinstance(self.lower, float) and isinstance(self.upper, float):
            return Limits(center=self.center, lower=self.lower, upper=self.upper)
        lower, upper = (
            known[~np.isnan(known)][-1:] for known in map(np.atleast_1d, (self.lower, self.upper))
        )
        if not lower.size or not upper.size:
            return None
        return Limits(
            center=self.center, lower=float(lower[0]), upper=float(upper[0]), varying=True
        )

    def beyond(self) -> NDArray[np.int64]:
        """Return the points outside of the limits, counted from 0."""
        if self.lower is None or self.upper is None:
            return np.empty(0, dtype=np.int64)
        return np.flatnonzero((self.values > self.upper) | (self.values < self.lower))
