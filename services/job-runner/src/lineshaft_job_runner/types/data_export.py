"""Job type data.export: every row of a saved query in files for other programs."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.job_types import ExportParameters, ExportResult

from lineshaft_job_runner.job_type import JobContext, JobType


class DataExport(JobType[ExportParameters, ExportResult]):
    """CSV, XLSX, Parquet or NDJSON with exactly the rows that the data source counted."""

    name: ClassVar[str] = "data.export"
    title: ClassVar[str] = "Export data"
    parameters = ExportParameters
    result = ExportResult
    timeout_seconds: ClassVar[float] = 900.0
    example: ClassVar[Mapping[str, Any]] = {
        "source": "mes",
        "query": "orders",
        "format": "csv",
        "columns": [
            {"name": "order_id", "label": "Order"},
            {"name": "product", "label": "Product"},
            {"name": "quantity", "label": "Quantity"},
            {"name": "due_at", "label": "Due"},
        ],
        "timezone": "Europe/Berlin",
    }

    async def run(self, context: JobContext, parameters: ExportParameters) -> ExportResult:
        """Write the files and say how many rows they hold."""
        # polars is loaded by the job's own process alone.
        from lineshaft_job_runner.types.exporting import work  # noqa: PLC0415

        return await work.run(context, parameters)
