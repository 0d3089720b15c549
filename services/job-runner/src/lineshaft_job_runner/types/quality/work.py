"""The run of quality.analyze: each analysis loads what it needs, and nothing of the others."""

from typing import assert_never

from lineshaft_contracts.gage import GageParameters
from lineshaft_contracts.pareto import ParetoParameters
from lineshaft_contracts.quality_analysis import QualityParameters, QualityResult
from lineshaft_contracts.sampling import SamplingParameters
from lineshaft_contracts.spc import ChartParameters

from lineshaft_job_runner.job_type import JobContext


async def run(context: JobContext, parameters: QualityParameters) -> QualityResult:
    """Hand over to the analysis that the parameters ask for."""
    match parameters.root:
        case ChartParameters() as chart:
            from lineshaft_job_runner.types.spc import work as spc  # noqa: PLC0415

            return QualityResult(await spc.run(context, chart))
        case GageParameters() as study:
            from lineshaft_job_runner.types.gage import work as gage  # noqa: PLC0415

            return QualityResult(await gage.run(context, study))
        case SamplingParameters() as inspection:
            from lineshaft_job_runner.types.sampling import work as sampling  # noqa: PLC0415

            return QualityResult(await sampling.run(context, inspection))
        case ParetoParameters() as ranking:
            from lineshaft_job_runner.types.pareto import work as pareto  # noqa: PLC0415

            return QualityResult(await pareto.run(context, ranking))
        case _ as never:
            assert_never(never)
