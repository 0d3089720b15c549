"""Lots judged one after the other; what is not known is never accepted."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lineshaft_contracts.sampling import (
    JudgedLot,
    LotQuery,
    LotVerdict,
    SamplingParameters,
    SamplingPlan,
    StandardPlan,
)

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.quality.reading import TRUTHS, WHOLE, label, read
from lineshaft_job_runner.types.sampling import switching
from lineshaft_job_runner.types.sampling.plans import standard_plan
from lineshaft_job_runner.types.sampling.switching import Outcome, State

LOTS_MAX = 100_000


@dataclass(frozen=True, kw_only=True)
class Lot:
    """What is known about an inspected lot; None is not known."""

    name: str
    size: int | None
    inspected: int | None
    nonconforming: int | None
    resubmitted: bool = False


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """All lots in their order, and where inspection stands after them."""

    lots: tuple[JudgedLot, ...]
    state: State | None
    """None for a plan that knows no switching."""


async def gather(context: JobContext, parameters: SamplingParameters) -> list[Lot]:
    """Collect the lots from the parameters or the data source; none when none were given."""
    if parameters.lots_query is None:
        return [
            Lot(
                name=lot.lot,
                size=lot.lot_size,
                inspected=lot.inspected,
                nonconforming=lot.nonconforming,
                resubmitted=lot.resubmitted,
            )
            for lot in parameters.lots or ()
        ]
    return await _rows(context, parameters.lots_query)


async def _rows(context: JobContext, query: LotQuery) -> list[Lot]:
    wanted: list[tuple[str, Any]] = [
        (query.lot_column, None),
        (query.lot_size_column, WHOLE),
        (query.inspected_column, WHOLE),
        (query.nonconforming_column, WHOLE),
    ]
    if query.resubmitted_column is not None:
        wanted.append((query.resubmitted_column, TRUTHS))
    return [
        Lot(
            name=label(name),
            size=size,
            inspected=inspected,
            nonconforming=nonconforming,
            resubmitted=bool(more and more[0]),
        )
        async for batch in read(context, query, wanted, what="lots", rows_max=LOTS_MAX)
        for name, size, inspected, nonconforming, *more in batch
    ]


def judge_all(
    lots: Iterable[Lot],
    plan: SamplingPlan | None,
    standard: StandardPlan | None,
    *,
    many_per_unit: bool,
) -> Judgement:
    """Judge lots by one plan, or by the standard and its switching rules.

    `many_per_unit`: nonconformities are counted, of which a unit may have many.
    """
    judged: list[JudgedLot] = []
    state = None if standard is None else switching.begin(standard)
    for lot in lots:
        found, state = _judge(lot, plan, standard, state, many_per_unit=many_per_unit)
        judged.append(found)
    return Judgement(lots=tuple(judged), state=state)


def _judge(
    lot: Lot,
    plan: SamplingPlan | None,
    standard: StandardPlan | None,
    state: State | None,
    *,
    many_per_unit: bool,
) -> tuple[JudgedLot, State | None]:
    if standard is not None and state is not None:
        if state.discontinued:
            return _discontinued(lot, state), state
        known = lot.size is not None and lot.size > 0
        plan = standard_plan(standard, lot.size or 1, state.severity) if known else None
    outcome, reason = inspect(lot, plan, many_per_unit=many_per_unit)
    following = state
    if standard is not None and state is not None and not lot.resubmitted:
        following = switching.after(state, outcome, lot.nonconforming or 0, standard)
    judged = JudgedLot(
        lot=lot.name,
        verdict=_VERDICTS[outcome],
        reason=reason,
        severity=state and state.severity,
        severity_next=following and following.severity,
        sample_size=plan and plan.sample_size,
        acceptance_number=plan and plan.acceptance_number,
        rejection_number=plan and plan.rejection_number,
    )
    return judged, following


_VERDICTS = {
    Outcome.ACCEPTED: LotVerdict.ACCEPTED,
    Outcome.ACCEPTED_ABOVE: LotVerdict.ACCEPTED,
    Outcome.REJECTED: LotVerdict.REJECTED,
    Outcome.UNKNOWN: LotVerdict.INSUFFICIENT_DATA,
}


def inspect(lot: Lot, plan: SamplingPlan | None, *, many_per_unit: bool) -> tuple[Outcome, str]:
    """Compare what was found with a plan, and say why; `many_per_unit`: units may count twice."""
    inspected, nonconforming = lot.inspected, lot.nonconforming
    if plan is None or inspected is None or nonconforming is None:
        return Outcome.UNKNOWN, "its size, or what inspection found, is not known"
    flaw = _flaw(lot.size, inspected, nonconforming, many_per_unit=many_per_unit)
    if flaw:
        return Outcome.UNKNOWN, flaw
    if nonconforming >= plan.rejection_number:
        return Outcome.REJECTED, (
            f"{nonconforming} nonconforming; rejected from {plan.rejection_number}"
        )
    sample = plan.sample_size if lot.size is None else min(plan.sample_size, lot.size)
    if inspected < sample:
        return Outcome.UNKNOWN, f"{inspected} of {sample} units were inspected"
    if nonconforming > plan.acceptance_number:
        return Outcome.ACCEPTED_ABOVE, (
            f"{nonconforming} nonconforming: accepted, but normal inspection is reinstated"
        )
    told = f"{nonconforming} nonconforming; accepted up to {plan.acceptance_number}"
    return Outcome.ACCEPTED, told


def _flaw(size: int | None, inspected: int, nonconforming: int, *, many_per_unit: bool) -> str:
    if inspected < 0 or nonconforming < 0 or (size is not None and inspected > size):
        return f"{inspected} units inspected of {size} cannot be"
    if nonconforming > inspected and not (many_per_unit and inspected):
        return f"{nonconforming} of {inspected} units cannot be nonconforming"
    return ""


def _discontinued(lot: Lot, state: State) -> JudgedLot:
    return JudgedLot(
        lot=lot.name,
        verdict=LotVerdict.INSPECTION_DISCONTINUED,
        reason="too many lots were not accepted on tightened inspection",
        severity=state.severity,
        severity_next=state.severity,
    )
