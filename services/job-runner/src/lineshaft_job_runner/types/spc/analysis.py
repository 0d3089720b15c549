"""From measurements to a judgement: limits, signals, stability and capability."""

from dataclasses import dataclass

import numpy as np
from lineshaft_contracts.capability import Capability
from lineshaft_contracts.spc import ChartKind, ChartParameters, Rule, Stability

from lineshaft_job_runner.types.spc import attributes, cumulative, rules
from lineshaft_job_runner.types.spc.capability import assess
from lineshaft_job_runner.types.spc.charts import (
    ControlLimits,
    Points,
    estimate,
    known_limits,
    plot,
    usable_dispersions,
)
from lineshaft_job_runner.types.spc.measurements import Measurements
from lineshaft_job_runner.types.spc.panels import Array, Mask, Panel
from lineshaft_job_runner.types.spc.signals import Found, Signals

MEMORY = frozenset({ChartKind.EWMA, ChartKind.CUSUM})
RANGE_SIZE_MAX = 10
"""A range of more values wastes what was measured: then the deviation tells sigma."""
LABELS = {
    ChartKind.XBAR_R: ("Mean", "Range"),
    ChartKind.XBAR_S: ("Mean", "Standard deviation"),
    ChartKind.I_MR: ("Value", "Moving range"),
}


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """Everything that is known about the process."""

    panels: tuple[Panel, ...]
    size: int
    """Values per subgroup; 1 for single values and counts."""
    phase1: Mask
    """Points that the limits were estimated from."""
    complete: Mask
    """Points without a missing value."""
    sigma_within: float | None
    """None for counts, and when there is too little data or variation to estimate it."""
    signals: Signals
    stability: Stability
    reason: str
    capability: Capability | None


@dataclass(frozen=True, kw_only=True)
class _Chart:
    panels: tuple[Panel, ...]
    found: tuple[Found, ...] = ()
    sigma: float | None = None


def analyze(measurements: Measurements, parameters: ChartParameters) -> Analysis:
    """Judge the process; what is not known is insufficient_data and never good news."""
    complete = ~np.isnan(measurements.values[:, 0])
    phase1 = measurements.phase1 & complete
    if parameters.chart.is_for_attributes:
        chart = _attributes(measurements, parameters, phase1)
    else:
        chart = _variables(measurements, parameters, phase1)
    signals = Signals.collect(chart.found)
    limited = chart.panels[0].center is not None
    stability, reason = _judge(phase1, complete, signals, parameters, limited=limited)
    capability = None
    if parameters.specification is not None and chart.sigma is not None:
        capability = assess(
            measurements.values[phase1].ravel(),
            sigma_within=chart.sigma,
            specification=parameters.specification,
            stability=stability,
            confidence=parameters.confidence,
            capability_min=parameters.capability_min,
        )
    return Analysis(
        panels=chart.panels,
        size=measurements.values.shape[1],
        phase1=phase1,
        complete=complete,
        sigma_within=chart.sigma,
        signals=signals,
        stability=stability,
        reason=reason,
        capability=capability,
    )


def _attributes(measurements: Measurements, parameters: ChartParameters, phase1: Mask) -> _Chart:
    known = parameters.known and parameters.known.center
    counts = measurements.values[:, 0]
    chart = attributes.chart(counts, measurements.sizes, parameters.chart, phase1, center=known)
    found = () if chart.z is None else _patterns(chart.z, parameters.rules)
    return _Chart(panels=(chart.panel,), found=found)


def _variables(measurements: Measurements, parameters: ChartParameters, phase1: Mask) -> _Chart:
    kind, size = parameters.chart, measurements.values.shape[1]
    if kind in MEMORY:
        kind = _short_term(size)
    points = plot(measurements.values, kind)
    limits = _limits(points, kind, phase1, parameters)
    if parameters.chart is ChartKind.EWMA:
        return _weighted(points, limits, parameters)
    if parameters.chart is ChartKind.CUSUM:
        return _summed(points, limits, parameters)
    location, dispersion = LABELS[kind]
    if limits is None:
        return _Chart(
            panels=(
                Panel(name="location", label=location, values=points.location),
                Panel(name="dispersion", label=dispersion, values=points.dispersion),
            )
        )
    panels = (
        Panel(
            name="location", label=location, values=points.location,
            center=limits.center, lower=limits.lower, upper=limits.upper,
        ),
        Panel(
            name="dispersion", label=dispersion, values=points.dispersion,
            center=limits.dispersion_center, lower=limits.dispersion_lower,
            upper=limits.dispersion_upper,
        ),
    )  # fmt: skip
    z = (points.location - limits.center) / limits.sigma_location
    found = (*_patterns(z, parameters.rules), _beyond(panels[1]))
    return _Chart(panels=panels, found=found, sigma=limits.sigma_within)


def _short_term(size: int) -> ChartKind:
    """Choose how sigma is estimated for a chart with a memory."""
    if size == 1:
        return ChartKind.I_MR
    return ChartKind.XBAR_R if size <= RANGE_SIZE_MAX else ChartKind.XBAR_S


def _limits(
    points: Points, kind: ChartKind, phase1: Mask, parameters: ChartParameters
) -> ControlLimits | None:
    known = parameters.known
    if known is not None and known.sigma is not None:
        return known_limits(points.size, kind, center=known.center, sigma=known.sigma)
    if phase1.sum() < 2 or not usable_dispersions(points, kind, phase1).any():
        return None
    limits = estimate(points, kind, phase1)
    return limits if limits.sigma_within > 0 else None


def _weighted(points: Points, limits: ControlLimits | None, parameters: ChartParameters) -> _Chart:
    if limits is None:
        return _Chart(panels=(Panel(name="location", label="Mean", values=points.location),))
    panel = cumulative.weighted(
        points.location,
        center=limits.center,
        sigma=limits.sigma_location,
        weight=parameters.ewma_weight,
        sigmas=parameters.ewma_sigmas,
    )
    return _Chart(panels=(panel,), found=(_beyond(panel),), sigma=limits.sigma_within)


def _summed(points: Points, limits: ControlLimits | None, parameters: ChartParameters) -> _Chart:
    if limits is None:
        return _Chart(panels=(Panel(name="location", label="Mean", values=points.location),))
    sums = cumulative.summed(
        points.location,
        center=limits.center,
        sigma=limits.sigma_location,
        slack=parameters.cusum_slack,
        interval=parameters.cusum_interval,
    )
    found: tuple[Found, ...] = (
        ("upper_sum", "decision-interval", sums.upper_findings),
        ("lower_sum", "decision-interval", sums.lower_findings),
    )
    return _Chart(panels=(sums.upper, sums.lower), found=found, sigma=limits.sigma_within)


def _patterns(z: Array, chosen: tuple[Rule, ...]) -> tuple[Found, ...]:
    return tuple(("location", rule, rules.find(rule, z)) for rule in dict.fromkeys(chosen))


def _beyond(panel: Panel) -> Found:
    points = panel.beyond()
    return panel.name, Rule.NELSON_1, rules.Findings(points=points, starts=points)


def _judge(
    phase1: Mask,
    complete: Mask,
    signals: Signals,
    parameters: ChartParameters,
    *,
    limited: bool,
) -> tuple[Stability, str]:
    # With limits that are known, the points are what the judgement rests on.
    count = int((phase1 if parameters.known is None else complete).sum())
    if not limited:
        return Stability.INSUFFICIENT_DATA, _unlimited(count, parameters.chart)
    unexplained, first = signals.unexplained(parameters.excluded_points)
    if first is not None:
        return Stability.OUT_OF_CONTROL, (
            f"{unexplained} signals, the first at point {first.point} by {first.rule} on the "
            f"chart of {first.chart.replace('_', ' ')}"
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


def _unlimited(count: int, kind: ChartKind) -> str:
    if kind.is_for_attributes:
        return (
            f"no limits can be estimated from {count} points: some units must be nonconforming, "
            "and not all of them"
        )
    return (
        f"no limits can be estimated from {count} points: two with variation are needed, "
        "a gauge that is too coarse shows none"
    )
