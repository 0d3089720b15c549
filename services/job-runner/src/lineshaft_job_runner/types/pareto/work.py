"""The analysis `pareto`: items in, a ranking out."""

from functools import partial
from platform import python_version

from lineshaft_contracts.job_parameters import Counts, Engine
from lineshaft_contracts.pareto import ParetoParameters, ParetoResult

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.input_digest import InputDigest
from lineshaft_job_runner.types.pareto.drawing import draw
from lineshaft_job_runner.types.pareto.ranking import Items, gather, rank, vital_few
from lineshaft_job_runner.types.quality.artifacts import write

CATEGORIES_SHOWN = 50


async def run(context: JobContext, parameters: ParetoParameters) -> ParetoResult:
    """Rank, and write `<file_name>.json` and `<file_name>.svg`."""
    items = await gather(context, parameters)
    digest = InputDigest(parameters)
    digest.add_rows(sorted(items.weights.items()))
    digest.add_rows([(items.items, items.missing)])
    ranked = rank(items.weights)
    known = bool(ranked) and items.missing <= parameters.missing_ratio_max * items.items
    vital = vital_few(ranked, parameters.threshold) if known else 0
    stop_if_cancelled(context)
    result = ParetoResult(
        counts=Counts(
            requested=items.items, ok=items.items - items.missing, skipped=items.missing
        ),
        warnings=_warnings(items),
        engine=Engine(name="python", version=python_version()),
        input_digest=digest.hexadecimal(),
        status="complete" if known else "insufficient_data",
        total=sum(one.weight for one in ranked),
        category_count=len(items.weights),
        vital_few=vital,
        categories=ranked[:CATEGORIES_SHOWN],
    )
    if not parameters.dry_run:
        document = {
            "title": parameters.title,
            "unit": parameters.unit,
            "status": result.status,
            "total": result.total,
            "vital_few": vital,
            "categories": [one.model_dump(mode="json") for one in ranked],
        }
        paint = partial(draw, ranked, vital, parameters)
        await write(context, parameters.file_name, document, paint, rows=len(ranked))
    context.progress(items.items, items.items, "analysed")
    return result.model_copy(update={"artifacts": context.artifacts()})


def _warnings(items: Items) -> tuple[str, ...]:
    if not items.missing:
        return ()
    return (f"{items.missing} items are left out because category or weight is missing",)
