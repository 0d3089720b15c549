"""Job type batch.apply: one operation on many items, each with an outcome."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.batches import BatchParameters, BatchResult

from lineshaft_job_runner.job_type import JobContext, JobType


class BatchApply(JobType[BatchParameters, BatchResult]):
    """Rows merged into a table, a job for each item, or a request for each item."""

    name: ClassVar[str] = "batch.apply"
    title: ClassVar[str] = "Apply a batch"
    parameters = BatchParameters
    result = BatchResult
    timeout_seconds: ClassVar[float] = 3_600.0
    memory_bytes_max: ClassVar[int | None] = 2 * 1024**3
    example: ClassVar[Mapping[str, Any]] = {
        "table": {"source": "mes", "entity": "stock", "operation": "upsert"},
        "items": [
            {"material": "bolt-m8", "location": "raw-1", "on_hand": "1200", "uom": "pcs"},
            {"material": "bolt-m10", "location": "raw-1", "on_hand": "800", "uom": "pcs"},
        ],
        "mode": "all_or_nothing",
        "dry_run": True,
    }

    async def run(self, context: JobContext, parameters: BatchParameters) -> BatchResult:
        """Apply the items and say what became of each."""
        # The clients of tables and services are loaded by the job's own process alone.
        from lineshaft_job_runner.types.batching import work  # noqa: PLC0415

        return await work.run(context, parameters)
