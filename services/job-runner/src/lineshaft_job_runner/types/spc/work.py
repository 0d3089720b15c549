"""The analysis `chart`: measurements in, a judgement and two artifacts out."""

import asyncio
from functools import partial
from typing import Any

import numpy as np
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.spc import ChartKind, ChartParameters, ChartResult, Limits

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.quality.artifacts import write
from lineshaft_job_runner.types.spc.analysis import Analysis, analyze
from lineshaft_job_runner.types.spc.drawing import draw
from lineshaft_job_runner.types.spc.measurements import Measurements, gather
from lineshaft_job_runner.types.spc.panels import Array, Panel

SIGNALS_MAX = 100


async def run(context: JobContext, parameters: ChartParameters) -> ChartResult:
    """Analyse, write `<file_name>.json` with everything and `<file_name>.svg` to look at."""
    measurements = await gather(context, parameters)
    points = len(measurements.values)
    context.progress(0, points, "analysing")
    digest = InputDigest(parameters)
    digest.add_bytes(measurements.values.tobytes() + measurements.phase1.tobytes())
    digest.add_bytes(measurements.sizes.tobytes())
    analysis = await asyncio.to_thread(analyze, measurements, parameters)
    stop_if_cancelled(context)
    if not parameters.dry_run:
        document = await asyncio.to_thread(_document, analysis, parameters)
        paint = partial(draw, analysis, parameters)
        await write(context, parameters.file_name, document, paint, rows=points)
    context.progress(points, points, "analysed")
    return _result(context, measurements, analysis, parameters, digest.hexadecimal())


def _document(analysis: Analysis, parameters: ChartParameters) -> dict[str, Any]:
    return {
        "title": parameters.title,
        "unit": parameters.unit,
        "chart": parameters.chart,
        "subgroup_size": analysis.size,
        "stability": analysis.stability,
        "reason": analysis.reason,
        "sigma_within": analysis.sigma_within,
        "limits": {panel.name: _limits(panel) for panel in analysis.panels},
        **{panel.name: _numbers(panel.values) for panel in analysis.panels},
        "phase1": (np.flatnonzero(analysis.phase1) + 1).tolist(),
        "signals": list(analysis.signals.documents()),
        "capability": analysis.capability and analysis.capability.model_dump(mode="json"),
    }


def _limits(panel: Panel) -> dict[str, Any] | None:
    """Write one number for all points, or a list with one for each."""
    if panel.center is None:
        return None
    return {
        "center": panel.center,
        **{
            name: _numbers(line) if isinstance(line, np.ndarray) else line
            for name, line in (("lower", panel.lower), ("upper", panel.upper))
        },
    }


def _numbers(values: Array) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN


def _shown(analysis: Analysis, parameters: ChartParameters) -> dict[str, Limits | None]:
    shown = {panel.name: panel.limits() for panel in analysis.panels}
    if parameters.chart is ChartKind.CUSUM and "upper_sum" in shown:
        reach = parameters.cusum_interval
        return {"location": Limits(center=0, lower=-reach, upper=reach), "dispersion": None}
    return {"location": shown["location"], "dispersion": shown.get("dispersion")}


def _result(
    context: JobContext,
    measurements: Measurements,
    analysis: Analysis,
    parameters: ChartParameters,
    digest: str,
) -> ChartResult:
    complete = int(analysis.complete.sum())
    shown = _shown(analysis, parameters)
    return ChartResult(
        counts=Counts(
            requested=analysis.complete.size,
            ok=complete,
            skipped=analysis.complete.size - complete,
        ),
        artifacts=context.artifacts(),
        warnings=_warnings(measurements, analysis),
        engine=Engine(name="numpy", version=np.__version__),
        input_digest=digest,
        chart=parameters.chart,
        stability=analysis.stability,
        reason=analysis.reason,
        points=analysis.complete.size,
        points_phase1=int(analysis.phase1.sum()),
        subgroup_size=analysis.size,
        sigma_within=analysis.sigma_within,
        signal_count=len(analysis.signals),
        signals=analysis.signals.first(SIGNALS_MAX),
        capability=analysis.capability,
        location=shown["location"],
        dispersion=shown["dispersion"],
    )


def _warnings(measurements: Measurements, analysis: Analysis) -> tuple[str, ...]:
    found: list[str] = []
    missing = int((~analysis.complete).sum()) - measurements.unequal
    if measurements.unequal:
        found.append(f"{measurements.unequal} subgroups of another size are left out")
    if missing > 0:
        found.append(f"{missing} points are left out because a value is missing")
    capability = analysis.capability
    if capability is not None and capability.normality.normal is False:
        found.append("the values are not normally distributed: read the indices with care")
    if len(analysis.signals) > SIGNALS_MAX:
        found.append(f"the result shows {SIGNALS_MAX} signals; the JSON artifact has all")
    return tuple(found)
