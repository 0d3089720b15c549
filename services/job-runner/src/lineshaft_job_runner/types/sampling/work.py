"""The analysis `sampling`: a question and lots in; plans, curves and verdicts out."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import astuple
from functools import partial
from typing import Any

import scipy
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.sampling import (
    AcceptancePoint,
    Distribution,
    LotVerdict,
    SamplingParameters,
    SamplingPlan,
    SamplingResult,
    Severity,
)

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.quality.artifacts import write
from lineshaft_job_runner.types.sampling.drawing import draw
from lineshaft_job_runner.types.sampling.lots import Judgement, Lot, gather, judge_all
from lineshaft_job_runner.types.sampling.plans import (
    curve_of,
    distribution_of,
    fixed_plan,
    standard_plan,
)

LOTS_SHOWN = 50
POINTS, POINTS_SHOWN = 201, 41


async def run(context: JobContext, parameters: SamplingParameters) -> SamplingResult:
    """Find plans, judge lots, and write `<file_name>.json` and `<file_name>.svg`."""
    lots = await gather(context, parameters)
    digest = InputDigest(parameters)
    digest.add_rows(astuple(lot) for lot in lots)
    fixed = await asyncio.to_thread(fixed_plan, parameters)
    stop_if_cancelled(context)
    context.progress(0, max(1, len(lots)), "judging lots")
    judgement = await asyncio.to_thread(
        judge_all,
        lots,
        fixed,
        parameters.standard,
        many_per_unit=distribution_of(parameters) is Distribution.POISSON,
    )
    stop_if_cancelled(context)
    plans = (fixed,) if fixed is not None else _of_all_severities(parameters, lots)
    curves = await asyncio.to_thread(_curves, plans, parameters)
    stop_if_cancelled(context)
    result = _result(parameters, plans, curves, judgement, digest.hexadecimal())
    if not parameters.dry_run:
        paint = partial(draw, curves, result.distribution, parameters.title)
        document = _document(parameters, curves, judgement)
        await write(context, parameters.file_name, document, paint, rows=len(lots))
    context.progress(len(lots), len(lots), "analysed")
    return result.model_copy(update={"artifacts": context.artifacts()})


def _of_all_severities(
    parameters: SamplingParameters, lots: list[Lot]
) -> tuple[SamplingPlan, ...]:
    """Show the plans of `lot_size`, or of the last lot whose size is known."""
    sizes = [lot.size for lot in lots if lot.size is not None and lot.size > 0]
    size = parameters.lot_size or (sizes[-1] if sizes else None)
    if parameters.standard is None or size is None:
        return ()
    return tuple(standard_plan(parameters.standard, size, severity) for severity in Severity)


def _curves(
    plans: tuple[SamplingPlan, ...], parameters: SamplingParameters
) -> dict[SamplingPlan, tuple[AcceptancePoint, ...]]:
    distribution = distribution_of(parameters)
    return {
        plan: curve_of(plan, distribution, parameters.lot_size).points(POINTS) for plan in plans
    }


def _result(
    parameters: SamplingParameters,
    plans: tuple[SamplingPlan, ...],
    curves: Mapping[SamplingPlan, tuple[AcceptancePoint, ...]],
    judgement: Judgement,
    digest: str,
) -> SamplingResult:
    verdicts = Counter(lot.verdict for lot in judgement.lots)
    accepted, rejected = verdicts[LotVerdict.ACCEPTED], verdicts[LotVerdict.REJECTED]
    undecided = len(judgement.lots) - accepted - rejected
    distribution = distribution_of(parameters)
    curve = curve_of(plans[0], distribution, parameters.lot_size) if plans else None
    points = curves[plans[0]] if plans else ()
    return SamplingResult(
        # Without lots the plan is the one piece of work.
        counts=(
            Counts(requested=len(judgement.lots), ok=accepted + rejected, skipped=undecided)
            if judgement.lots
            else Counts(requested=len(plans), ok=len(plans))
        ),
        warnings=_warnings(judgement, undecided),
        engine=Engine(name="scipy", version=scipy.__version__),
        input_digest=digest,
        plans=plans,
        distribution=distribution,
        characteristic=points[:: max(1, -(-(len(points) - 1) // (POINTS_SHOWN - 1)))],
        quality_accepted=curve and curve.quality_at(0.95),
        quality_indifferent=curve and curve.quality_at(0.5),
        quality_rejected=curve and curve.quality_at(0.1),
        lots_accepted=accepted,
        lots_rejected=rejected,
        lots_undecided=undecided,
        lots=judgement.lots[-LOTS_SHOWN:],
        severity_next=judgement.state and judgement.state.severity,
        discontinued=judgement.state is not None and judgement.state.discontinued,
    )


def _warnings(judgement: Judgement, undecided: int) -> tuple[str, ...]:
    found: list[str] = []
    if undecided:
        found.append(f"{undecided} lots could not be judged: they are not accepted")
    if judgement.state is not None and judgement.state.discontinued:
        found.append("inspection is discontinued until the process is improved")
    if len(judgement.lots) > LOTS_SHOWN:
        found.append(f"the result shows the last {LOTS_SHOWN} lots; the JSON artifact has all")
    return tuple(found)


def _document(
    parameters: SamplingParameters,
    curves: Mapping[SamplingPlan, tuple[AcceptancePoint, ...]],
    judgement: Judgement,
) -> dict[str, Any]:
    return {
        "title": parameters.title,
        "plans": [
            {
                **plan.model_dump(mode="json"),
                "characteristic": [[point.quality, point.acceptance] for point in points],
            }
            for plan, points in curves.items()
        ],
        "lots": [lot.model_dump(mode="json") for lot in judgement.lots],
        "severity_next": judgement.state and judgement.state.severity,
    }
