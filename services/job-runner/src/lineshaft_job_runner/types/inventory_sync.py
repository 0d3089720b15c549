"""Job type inventory.sync: stock of another system brought into one's own."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.inventory_sync import InventorySyncParameters, InventorySyncResult

from lineshaft_job_runner.job_type import JobContext, JobType


class InventorySync(JobType[InventorySyncParameters, InventorySyncResult]):
    """Three-way merge of two stocks; differences are applied, so that bookings are kept."""

    name: ClassVar[str] = "inventory.sync"
    title: ClassVar[str] = "Synchronise inventory"
    parameters = InventorySyncParameters
    result = InventorySyncResult
    timeout_seconds: ClassVar[float] = 1_800.0
    example: ClassVar[Mapping[str, Any]] = {
        "sync": "erp-spares",
        "source": {
            "kind": "pages",
            "source": "erp",
            "path": "stock",
            "paging": {"by": "cursor"},
            "columns": {"item": "article", "location": "storage", "uom": "unit"},
        },
        "target": {
            "source": "mes",
            "entity": "stock",
            "columns": {"item": "material"},
        },
        "policy": "manual",
    }

    async def run(
        self, context: JobContext, parameters: InventorySyncParameters
    ) -> InventorySyncResult:
        """Compare and apply; what differs is in artifacts."""
        # polars is loaded by the job's own process alone.
        from lineshaft_job_runner.types.inventory import work  # noqa: PLC0415

        return await work.run(context, parameters)
