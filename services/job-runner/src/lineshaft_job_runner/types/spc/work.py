"""The run of quality.analyze: measurements in, a judgement and two artifacts out."""

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.spc import AnalysisParameters, AnalysisResult, Limits

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.spc.analysis import Analysis, analyze
from lineshaft_job_runner.types.spc.charts import Array, ControlLimits
from lineshaft_job_runner.types.spc.drawing import draw
from lineshaft_job_runner.types.spc.measurements import Measurements, gather

SIGNALS_MAX = 100


async def run(context: JobContext, parameters: AnalysisParameters) -> AnalysisResult:
    """Analyse, write `<file_name>.json` with everything and `<file_name>.svg` to look at."""
    measurements = await gather(context, parameters)
    points = len(measurements.values)
    context.progress(0, points, "analysing")
    digest = InputDigest(parameters)
    digest.add_bytes(measurements.values.tobytes() + measurements.phase1.tobytes())
    analysis = await asyncio.to_thread(analyze, measurements, parameters)
    stop_if_cancelled(context)
    if not parameters.dry_run:
        await _write_artifacts(context, analysis, parameters)
    context.progress(points, points, "analysed")
    return _result(context, measurements, analysis, parameters, digest.hexadecimal())


async def _write_artifacts(
    context: JobContext, analysis: Analysis, parameters: AnalysisParameters
) -> None:
    stem, points = parameters.file_name, analysis.complete.size
    async with context.artifact(f"{stem}.json", media_type="application/json") as file:
        await asyncio.to_thread(_write_json, file.path, analysis, parameters)
        file.rows = points
    stop_if_cancelled(context)
    context.progress(points // 2, points, "drawing")
    async with context.artifact(f"{stem}.svg", media_type="image/svg+xml") as file:
        await asyncio.to_thread(draw, analysis, parameters, file.path)


def _write_json(path: Path, analysis: Analysis, parameters: AnalysisParameters) -> None:
    limits = analysis.limits
    document: dict[str, Any] = {
        "title": parameters.title,
        "unit": parameters.unit,
        "chart": parameters.chart,
        "subgroup_size": analysis.points.size,
        "stability": analysis.stability,
        "reason": analysis.reason,
        "sigma_within": limits and limits.sigma_within,
        "limits": {name: chart and chart.model_dump() for name, chart in _both(limits).items()},
        "location": _numbers(analysis.points.location),
        "dispersion": _numbers(analysis.points.dispersion),
        "phase1": (np.flatnonzero(analysis.phase1) + 1).tolist(),
        "signals": [signal.model_dump(mode="json") for signal in analysis.signals],
        "capability": analysis.capability and analysis.capability.model_dump(mode="json"),
    }
    with path.open("w", encoding="utf-8") as file:
        json.dump(document, file, allow_nan=False, separators=(",", ":"))


def _numbers(values: Array) -> list[float | None]:
    return [None if value != value else value for value in values.tolist()]  # noqa: PLR0124 - NaN


def _both(limits: ControlLimits | None) -> dict[str, Limits | None]:
    if limits is None:
        return {"location": None, "dispersion": None}
    return {
        "location": Limits(center=limits.center, lower=limits.lower, upper=limits.upper),
        "dispersion": Limits(
            center=limits.dispersion_center,
            lower=limits.dispersion_lower,
            upper=limits.dispersion_upper,
        ),
    }


def _result(
    context: JobContext,
    measurements: Measurements,
    analysis: Analysis,
    parameters: AnalysisParameters,
    digest: str,
) -> AnalysisResult:
    complete, limits = int(analysis.complete.sum()), analysis.limits
    both = _both(limits)
    return AnalysisResult(
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
        subgroup_size=analysis.points.size,
        sigma_within=limits and limits.sigma_within,
        signal_count=len(analysis.signals),
        signals=analysis.signals[:SIGNALS_MAX],
        capability=analysis.capability,
        location=both["location"],
        dispersion=both["dispersion"],
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
