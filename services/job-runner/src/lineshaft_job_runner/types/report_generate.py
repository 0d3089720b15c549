"""Job type report.generate: a document for people from the rows of a data source."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.reports import ReportParameters, ReportResult

from lineshaft_job_runner.job_type import JobContext, JobType


class ReportGenerate(JobType[ReportParameters, ReportResult]):
    """Figures, charts and every row of the tables, as PDF, HTML, XLSX or CSV."""

    name: ClassVar[str] = "report.generate"
    title: ClassVar[str] = "Generate a report"
    parameters = ReportParameters
    result = ReportResult
    timeout_seconds: ClassVar[float] = 300.0
    memory_bytes_max: ClassVar[int | None] = 512 * 1024**2
    example: ClassVar[Mapping[str, Any]] = {
        "template": "shift-report",
        "source": "mes",
        "shift_start": "2026-11-24T06:00:00+01:00",
        "shift_end": "2026-11-24T14:00:00+01:00",
        "timezone": "Europe/Berlin",
        "title": "Early shift",
    }

    async def run(self, context: JobContext, parameters: ReportParameters) -> ReportResult:
        """Write the files and say how many rows and pages they have."""
        # The libraries of the formats are loaded by the job's own process alone.
        from lineshaft_job_runner.types.reporting import work  # noqa: PLC0415

        return await work.run(context, parameters)
