"""The analysis `gage-rr`: readings in, a judgement of the measuring system out."""

import asyncio
from functools import partial

import numpy as np
from lineshaft_contracts.gage import GageParameters, GageResult
from lineshaft_contracts.job_parameters import Counts, Engine

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.gage.assessment import assess
from lineshaft_job_runner.types.gage.drawing import draw
from lineshaft_job_runner.types.gage.study import Study, gather
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.quality.artifacts import write


async def run(context: JobContext, parameters: GageParameters) -> GageResult:
    """Assess, and write `<file_name>.json` and `<file_name>.svg`."""
    study = await gather(context, parameters)
    context.progress(0, study.readings, "analysing")
    digest = _digest(study, parameters)
    found = await asyncio.to_thread(assess, study, parameters)
    stop_if_cancelled(context)
    result = GageResult(
        counts=Counts(
            requested=study.readings,
            ok=study.readings - study.missing,
            skipped=study.missing,
        ),
        warnings=_warnings(study, parameters),
        engine=Engine(name="numpy", version=np.__version__),
        input_digest=digest,
        method=parameters.method,
        verdict=found.verdict,
        reason=found.reason,
        parts=len(study.parts),
        operators=len(study.operators),
        trials=study.trials,
        anova=found.rows,
        interaction_pooled=found.pooled,
        components=found.components,
        distinct_categories=found.categories,
    )
    if not parameters.dry_run:
        document = {
            "title": parameters.title,
            "unit": parameters.unit,
            **result.model_dump(mode="json", exclude={"counts", "artifacts", "errors"}),
            "parts": study.parts,
            "operators": study.operators,
            "values": study.values.tolist(),
        }
        paint = partial(draw, study, found, parameters)
        await write(context, parameters.file_name, document, paint, rows=study.readings)
    context.progress(study.readings, study.readings, "analysed")
    return result.model_copy(update={"artifacts": context.artifacts()})


def _digest(study: Study, parameters: GageParameters) -> str:
    digest = InputDigest(parameters)
    digest.add_rows([study.parts, study.operators, (study.readings, study.missing, study.flaw)])
    digest.add_bytes(study.values.tobytes())
    return digest.hexadecimal()


def _warnings(study: Study, parameters: GageParameters) -> tuple[str, ...]:
    found: list[str] = []
    if study.missing:
        found.append(f"{study.missing} readings are missing: the study cannot be analysed")
    if len(study.operators) == 1:
        found.append("one operator alone says nothing about reproducibility")
    if parameters.tolerance is None:
        found.append("without a tolerance the gauge is compared with the parts of the study alone")
    return tuple(found)
