"""From a study to a verdict about the measuring system."""

from dataclasses import dataclass
from math import floor, sqrt

from lineshaft_contracts.gage import (
    AnovaRow,
    ComponentSource,
    GageComponent,
    GageMethod,
    GageParameters,
    GageVerdict,
)

from lineshaft_job_runner.types.gage import anova, ranges
from lineshaft_job_runner.types.gage.anova import Variances
from lineshaft_job_runner.types.gage.study import Study

ACCEPTABLE_PERCENT, MARGINAL_PERCENT = 10.0, 30.0
CATEGORIES_MIN = 5
ROUNDING = 1e-12
CATEGORY_FACTOR = 1.41
"""Root of 2, as the AIAG rounds it."""


@dataclass(frozen=True, kw_only=True)
class Assessment:
    """What the study says."""

    verdict: GageVerdict
    reason: str
    rows: tuple[AnovaRow, ...] = ()
    pooled: bool | None = None
    components: tuple[GageComponent, ...] = ()
    categories: int | None = None


def assess(study: Study, parameters: GageParameters) -> Assessment:
    """Judge the system; a study that is incomplete, or too small, is insufficient_data."""
    parts, operators, trials = len(study.parts), len(study.operators), study.trials
    if study.flaw:
        return _unknown(study.flaw)
    if parts < 2 or trials < 2:
        return _unknown(f"{parts} parts measured {trials} times: two of both are needed at least")
    rows: tuple[AnovaRow, ...] = ()
    pooled: bool | None = None
    if parameters.method is GageMethod.ANOVA:
        rows = anova.table(study.values)
        alpha = parameters.interaction_alpha
        pooled = anova.is_pooled(rows, alpha) if operators > 1 else None
        found = anova.variances(rows, (parts, operators, trials), interaction_alpha=alpha)
    else:
        found = ranges.variances(study.values)
    components = _components(found, parameters)
    if not components:
        return _unknown("nothing varies: the gauge is too coarse for these parts")
    categories = _categories(components)
    verdict, reason = _judge(components, categories)
    if parts < parameters.parts_min or operators < parameters.operators_min:
        verdict = GageVerdict.INSUFFICIENT_DATA
        reason = (
            f"{parts} parts and {operators} operators; {parameters.parts_min} parts and "
            f"{parameters.operators_min} operators are needed to judge"
        )
    return Assessment(
        verdict=verdict,
        reason=reason,
        rows=rows,
        pooled=pooled,
        components=components,
        categories=categories,
    )


def _unknown(reason: str) -> Assessment:
    return Assessment(verdict=GageVerdict.INSUFFICIENT_DATA, reason=reason)


def _components(found: Variances, parameters: GageParameters) -> tuple[GageComponent, ...]:
    reproducibility = found.operator + (found.interaction or 0.0)
    gage = found.repeatability + reproducibility
    total = gage + found.part
    if not total > 0:
        return ()
    named: tuple[tuple[ComponentSource, float | None], ...] = (
        ("repeatability", found.repeatability),
        ("operator", found.operator),
        ("interaction", found.interaction),
        ("reproducibility", reproducibility),
        ("gage-rr", gage),
        ("part", found.part),
        ("total", total),
    )
    tolerance = parameters.tolerance
    return tuple(
        GageComponent(
            source=source,
            variance=variance,
            deviation=sqrt(variance),
            contribution_percent=100 * variance / total,
            study_percent=100 * sqrt(variance / total),
            tolerance_percent=(
                None
                if tolerance is None
                else 100 * parameters.study_sigmas * sqrt(variance) / tolerance
            ),
        )
        for source, variance in named
        if variance is not None
    )


def _named(components: tuple[GageComponent, ...]) -> dict[str, GageComponent]:
    return {component.source: component for component in components}


def _categories(components: tuple[GageComponent, ...]) -> int | None:
    named = _named(components)
    gage, part = named["gage-rr"].deviation, named["part"].deviation
    # Below that it is rounding, not an error of the gauge.
    return floor(CATEGORY_FACTOR * part / gage) if gage > ROUNDING * part else None


def _judge(
    components: tuple[GageComponent, ...], categories: int | None
) -> tuple[GageVerdict, str]:
    gage = _named(components)["gage-rr"]
    percent, of = gage.study_percent, "study variation"
    if gage.tolerance_percent is not None and gage.tolerance_percent > percent:
        percent, of = gage.tolerance_percent, "tolerance"
    told = f"gage R&R takes {percent:.1f} % of the {of}"
    if categories is not None:
        told += f"; {categories} categories of parts can be told apart"
    if percent > MARGINAL_PERCENT:
        return GageVerdict.UNACCEPTABLE, told
    if percent > ACCEPTABLE_PERCENT or (categories is not None and categories < CATEGORIES_MIN):
        return GageVerdict.MARGINAL, told
    return GageVerdict.ACCEPTABLE, told
