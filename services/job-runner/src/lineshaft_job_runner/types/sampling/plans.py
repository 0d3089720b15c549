"""Plans: of MIL-STD-105E, the smallest one for two risks, or one that was agreed."""

from collections.abc import Callable
from math import ceil, floor

from lineshaft_contracts.sampling import (
    Distribution,
    Risks,
    SamplingParameters,
    SamplingPlan,
    Severity,
    StandardPlan,
)

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.sampling import mil_std_105e
from lineshaft_job_runner.types.sampling.characteristic import Characteristic, last_where

SAMPLE_MAX = 1_000_000
ACCEPTANCE_MAX = 10_000
PERCENT_NONCONFORMING_MAX = 10.0
"""Above this an AQL counts nonconformities per hundred units, of which a unit may have many."""


def standard_plan(given: StandardPlan, lot_size: int, severity: Severity) -> SamplingPlan:
    """Look a plan up; a sample as large as the lot is the whole lot."""
    letter = mil_std_105e.code_letter(lot_size, given.level)
    found = mil_std_105e.plan(letter, given.aql, severity)
    return SamplingPlan(
        severity=severity,
        code_letter=letter,
        plan_letter=found.letter,
        sample_size=min(found.sample_size, lot_size),
        acceptance_number=found.acceptance_number,
        rejection_number=found.rejection_number,
        inspect_all=found.sample_size >= lot_size,
    )


def fixed_plan(parameters: SamplingParameters) -> SamplingPlan | None:
    """Return the one plan that was agreed, or found for the risks; None for the standard."""
    if parameters.plan is not None:
        return _plan(
            parameters.plan.sample_size, parameters.plan.acceptance_number, parameters.lot_size
        )
    if parameters.risks is not None:
        return smallest(parameters.risks, distribution_of(parameters), parameters.lot_size)
    return None


def distribution_of(parameters: SamplingParameters) -> Distribution:
    """Choose the distribution, when none was."""
    if parameters.distribution is not None:
        return parameters.distribution
    standard = parameters.standard
    if standard is not None and standard.aql > PERCENT_NONCONFORMING_MAX:
        return Distribution.POISSON
    return Distribution.BINOMIAL


def smallest(risks: Risks, distribution: Distribution, lot_size: int | None) -> SamplingPlan:
    """Find the smallest sample that keeps both risks.

    For each acceptance number from 0, the smallest sample that protects the consumer; the first
    one that also protects the producer is the smallest of all. Raises PermanentError.
    """
    most = SAMPLE_MAX
    if distribution is Distribution.HYPERGEOMETRIC:
        most = min(SAMPLE_MAX, lot_size or 0)
    for allowed in range(ACCEPTANCE_MAX + 1):

        def unprotected(sample: int, allowed: int = allowed) -> bool:
            curve = _curve(sample, allowed, distribution, lot_size)
            return _acceptance(curve, risks.consumer_quality, ceil) > risks.consumer_risk

        if allowed + 1 > most or unprotected(most):
            break
        sample = last_where(unprotected, allowed, most) + 1
        curve = _curve(sample, allowed, distribution, lot_size)
        if _acceptance(curve, risks.producer_quality, floor) >= 1 - risks.producer_risk:
            return _plan(sample, allowed, lot_size)
    raise PermanentError(
        "plan_not_found",
        f"no sample of up to {most} units keeps both risks: move the qualities apart or allow "
        "larger risks",
    )


def curve_of(
    plan: SamplingPlan, distribution: Distribution, lot_size: int | None
) -> Characteristic:
    """Return the operating characteristic of a plan; up to its rejection number lots pass."""
    return _curve(plan.sample_size, plan.rejection_number - 1, distribution, lot_size)


def _curve(
    sample: int, allowed: int, distribution: Distribution, lot_size: int | None
) -> Characteristic:
    return Characteristic(
        sample_size=sample, allowed=allowed, distribution=distribution, lot_size=lot_size
    )


def _acceptance(curve: Characteristic, quality: float, rounded: Callable[[float], int]) -> float:
    if curve.distribution is not Distribution.HYPERGEOMETRIC:
        return curve.acceptance(quality)
    # The tolerance keeps 0.07 * 100 = 7.000000000000001 from becoming 8.
    units = quality * (curve.lot_size or 0)
    nearest = round(units)
    return curve.acceptance_of(nearest if abs(units - nearest) < 1e-9 * units else rounded(units))


def _plan(sample: int, allowed: int, lot_size: int | None) -> SamplingPlan:
    whole = lot_size is not None and sample >= lot_size
    return SamplingPlan(
        sample_size=lot_size if whole and lot_size is not None else sample,
        acceptance_number=allowed,
        rejection_number=allowed + 1,
        inspect_all=whole,
    )
