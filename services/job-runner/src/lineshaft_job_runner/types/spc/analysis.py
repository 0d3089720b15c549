"""From measurements to a judgement: limits, signals, stability and capability."""

from dataclasses import dataclass

import numpy as np
from lineshaft_contracts.spc import (
    AnalysisParameters,
    Capability,
    ChartKind,
    Rule,
    Signal,
    Stability,
)

from lineshaft_job_runner.types.spc import rules
from lineshaft_job_runner.types.spc.capability import assess
from lineshaft_job_runner.types.spc.charts import ControlLimits, Mask, Points, estimate, plot
from lineshaft_job_runner.types.spc.measurements import Measurements


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that is known about the process."""

    points: Points
    phase1: Mask
    """Points that the limits were estimated from."""
    complete: Mask
    """Points without a missing value."""
    limits: ControlLimits | None
    """None when there is too little data, or no variation, to estimate them."""
    signals: tuple[Signal, ...]
    stability: Stability
    reason: str
    capability: Capability | None


def analyze(measurements: Measurements, parameters: AnalysisParameters) -> Analysis:
    """Judge the process; what is not known is insufficient_data and never good news."""
    points = plot(measurements.values, parameters.chart)
    complete = ~np.isnan(points.location)
    phase1 = measurements.phase1 & complete
    limits = _limits(points, parameters.chart, phase1)
    signals = () if limits is None else _signals(points, limits, parameters.rules)
    stability, reason = _judge(phase1, complete, limits, signals, parameters)
    capability = None
    if parameters.specification is not None and limits is not None:
        capability = assess(
            measurements.values[phase1].ravel(),
            sigma_within=limits.sigma_within,
            specification=parameters.specification,
            stability=stability,
            confidence=parameters.confidence,
            capability_min=parameters.capability_min,
        )
    return Analysis(
        points=points,
        phase1=phase1,
        complete=complete,
        limits=limits,
        signals=signals,
        stability=stability,
        reason=reason,
        capability=capability,
    )


def _limits(points: Points, kind: ChartKind, phase1: Mask) -> ControlLimits | None:
    usable = phase1 & ~np.isnan(points.dispersion)
    if kind is ChartKind.I_MR:
        usable &= np.concatenate(([False], phase1[:-1]))
    if phase1.sum() < 2 or not usable.any():
        return None
    limits = estimate(points, kind, phase1)
    return limits if limits.sigma_within > 0 else None


def _signals(
    points: Points, limits: ControlLimits, chosen: tuple[Rule, ...]
) -> tuple[Signal, ...]:
    z = (points.location - limits.center) / limits.sigma_location
    found = [
        Signal(chart="location", rule=rule, point=point + 1, start=start + 1)
        for rule in dict.fromkeys(chosen)
        for point, start in _pairs(rules.find(rule, z))
    ]
    outside = (points.dispersion > limits.dispersion_upper) | (
        points.dispersion < limits.dispersion_lower
    )
    found += [
        Signal(chart="dispersion", rule=Rule.NELSON_1, point=point + 1, start=point + 1)
        for point in np.flatnonzero(outside).tolist()
    ]
    return tuple(sorted(found, key=lambda signal: (signal.point, signal.chart, signal.rule)))


def _pairs(findings: rules.Findings) -> list[tuple[int, int]]:
    return list(zip(findings.points.tolist(), findings.starts.tolist(), strict=True))


def _judge(
    phase1: Mask,
    complete: Mask,
    limits: ControlLimits | None,
    signals: tuple[Signal, ...],
    parameters: AnalysisParameters,
) -> tuple[Stability, str]:
    count = int(phase1.sum())
    if limits is None:
        return Stability.INSUFFICIENT_DATA, (
            f"no limits can be estimated from {count} points: two with variation are needed, "
            "a gauge that is too coarse shows none"
        )
    known = set(parameters.excluded_points)
    unexplained = [signal for signal in signals if signal.point not in known]
    if unexplained:
        first = unexplained[0]
        return Stability.OUT_OF_CONTROL, (
            f"{len(unexplained)} signals, the first at point {first.point} by {first.rule} on the "
            f"chart of {first.chart}"
        )
    if count < parameters.points_min:
        return Stability.INSUFFICIENT_DATA, (
            f"limits rest on {count} points; {parameters.points_min} are needed to call the "
            "process stable"
        )
    missing = int((~complete).sum())
    if missing > parameters.missing_ratio_max * complete.size:
        return Stability.INSUFFICIENT_DATA, (
            f"{missing} of {complete.size} points have missing values"
        )
    return Stability.IN_CONTROL, f"no signal in {complete.size - missing} points"
