"""Run rules: where a pattern on a control chart completes, and where it began."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from lineshaft_contracts.spc import Rule
from numpy.typing import NDArray

from lineshaft_job_runner.types.spc.panels import Array, Mask

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The points, counted from 0, at which a rule holds, and the first point of each pattern."""

    points: Indices
    starts: Indices


def find(rule: Rule, z: Array) -> Findings:
    """Apply one rule to standardised points; NaN (missing) breaks every pattern.

    A pattern is reported where it completes and at every later point while it still holds.
    """
    return _RULES[rule](z)


def beyond(z: Array, sigmas: float) -> Findings:
    """One point outside of `sigmas`."""
    points = np.flatnonzero(np.abs(z) > sigmas)
    return Findings(points=points, starts=points)


def one_side(z: Array, run: int) -> Findings:
    """`run` points in a row on the same side of the centre; a point on it breaks the run."""
    return _merge(_runs(z > 0, run), _runs(z < 0, run))


def trend(z: Array, run: int) -> Findings:
    """`run` points in a row, each above the one before, or each below."""
    rising, falling = _steps(z)
    return _merge(_runs(rising, run - 1, lead=1), _runs(falling, run - 1, lead=1))


def alternating(z: Array, run: int) -> Findings:
    """`run` points in a row that go up and down in turn."""
    rising, falling = _steps(z)
    turns = np.zeros(z.size, dtype=bool)
    turns[1:] = (rising[1:] & falling[:-1]) | (falling[1:] & rising[:-1])
    return _runs(turns, run - 2, lead=2)


def zone(z: Array, *, least: int, window: int, sigmas: float) -> Findings:
    """`least` of `window` points beyond `sigmas` on one side, the newest one among them."""
    return _merge(_zone(z > sigmas, least, window), _zone(z < -sigmas, least, window))


def within(z: Array, run: int, sigmas: float) -> Findings:
    """`run` points in a row inside of `sigmas`, on either side: too good to be true."""
    return _runs(np.abs(z) < sigmas, run)


def without(z: Array, run: int, sigmas: float) -> Findings:
    """`run` points in a row outside of `sigmas`, on both sides: a mixture."""
    found = _runs(np.abs(z) > sigmas, run)
    # Within the last `run` points both sides must be present.
    above = (z > 0)[found.points[:, None] - np.arange(run)]
    both = above.any(axis=1) & ~above.all(axis=1)
    return Findings(points=found.points[both], starts=found.starts[both])


def _steps(z: Array) -> tuple[Mask, Mask]:
    """Say of each point whether it is above, and below, the one before."""
    rising, falling = np.zeros(z.size, dtype=bool), np.zeros(z.size, dtype=bool)
    np.greater(z[1:], z[:-1], out=rising[1:])
    np.less(z[1:], z[:-1], out=falling[1:])
    return rising, falling


def _runs(holds: Mask, run: int, *, lead: int = 0) -> Findings:
    """Streaks of at least `run` true values; the pattern began `lead` points before the streak."""
    breaks = np.concatenate(([-1], np.flatnonzero(~holds), [holds.size]))
    lengths = np.diff(breaks) - 1
    long = lengths >= run
    first, completions = breaks[:-1][long] + 1, lengths[long] - run + 1
    # A streak of length n completes the pattern n - run + 1 times, from its run-th point on.
    ends = np.cumsum(completions)
    within_streak = np.arange(ends[-1] if ends.size else 0) - np.repeat(
        ends - completions, completions
    )
    starts = np.repeat(first, completions)
    return Findings(points=starts + run - 1 + within_streak, starts=starts - lead)


def _zone(holds: Mask, least: int, window: int) -> Findings:
    hits = np.flatnonzero(holds)
    # The newest point counts, so the one `least` - 1 hits before it must lie in its window.
    found = np.flatnonzero(hits[least - 1 :] - hits[: hits.size - least + 1] < window) + least - 1
    first = np.searchsorted(hits, hits[found] - window + 1)
    return Findings(points=hits[found], starts=hits[first])


def _merge(one: Findings, other: Findings) -> Findings:
    points = np.concatenate((one.points, other.points))
    starts = np.concatenate((one.starts, other.starts))
    order = np.argsort(points, kind="stable")
    return Findings(points=points[order], starts=starts[order])


_RULES: Mapping[Rule, Callable[[Array], Findings]] = {
    Rule.NELSON_1: lambda z: beyond(z, 3),
    Rule.NELSON_2: lambda z: one_side(z, 9),
    Rule.NELSON_3: lambda z: trend(z, 6),
    Rule.NELSON_4: lambda z: alternating(z, 14),
    Rule.NELSON_5: lambda z: zone(z, least=2, window=3, sigmas=2),
    Rule.NELSON_6: lambda z: zone(z, least=4, window=5, sigmas=1),
    Rule.NELSON_7: lambda z: within(z, 15, 1),
    Rule.NELSON_8: lambda z: without(z, 8, 1),
    Rule.WESTERN_ELECTRIC_1: lambda z: beyond(z, 3),
    Rule.WESTERN_ELECTRIC_2: lambda z: zone(z, least=2, window=3, sigmas=2),
    Rule.WESTERN_ELECTRIC_3: lambda z: zone(z, least=4, window=5, sigmas=1),
    Rule.WESTERN_ELECTRIC_4: lambda z: one_side(z, 8),
}
