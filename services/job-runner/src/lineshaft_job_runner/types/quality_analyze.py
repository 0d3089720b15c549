"""Job type quality.analyze: whether a process is stable, and what it is capable of."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.spc import AnalysisParameters, AnalysisResult

from lineshaft_job_runner.job_type import JobContext, JobType


class QualityAnalyze(JobType[AnalysisParameters, AnalysisResult]):
    """Control charts with run rules, and process capability with confidence intervals."""

    name: ClassVar[str] = "quality.analyze"
    title: ClassVar[str] = "Analyse quality"
    parameters = AnalysisParameters
    result = AnalysisResult
    timeout_seconds: ClassVar[float] = 300.0
    example: ClassVar[Mapping[str, Any]] = {
        "chart": "xbar-r",
        "measurements": {
            "source": "mes",
            "query": "measurements",
            "query_parameters": {"characteristic": "piston-ring-diameter"},
            "phase1_column": "trial",
        },
        "specification": {"lower": 73.95, "upper": 74.05, "target": 74.0},
        "title": "Piston ring diameter",
        "unit": "mm",
    }

    async def run(self, context: JobContext, parameters: AnalysisParameters) -> AnalysisResult:
        """Analyse the measurements; the verdict is in the result, the points in artifacts."""
        # numpy, scipy and matplotlib are loaded by the job's own process alone.
        from lineshaft_job_runner.types.spc import work  # noqa: PLC0415

        return await work.run(context, parameters)
