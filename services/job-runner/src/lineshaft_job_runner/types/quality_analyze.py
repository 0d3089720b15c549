"""Job type quality.analyze: control charts, gage studies, acceptance sampling and Pareto."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.quality_analysis import QualityParameters, QualityResult

from lineshaft_job_runner.job_type import JobContext, JobType


class QualityAnalyze(JobType[QualityParameters, QualityResult]):
    """Control charts with capability, gage R&R, acceptance sampling, or Pareto analysis."""

    name: ClassVar[str] = "quality.analyze"
    title: ClassVar[str] = "Analyse quality"
    parameters = QualityParameters
    result = QualityResult
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

    async def run(self, context: JobContext, parameters: QualityParameters) -> QualityResult:
        """Run the analysis that was asked for; its verdict is in the result."""
        # numpy, scipy and matplotlib are loaded by the job's own process alone.
        from lineshaft_job_runner.types.quality import work  # noqa: PLC0415

        return await work.run(context, parameters)
