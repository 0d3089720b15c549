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
    memory_bytes_max: ClassVar[int | None] = 2 * 1024**3
    example: ClassVar[Mapping[str, Any]] = {
        "sync": "erp-spares",
        "source": {
            "kind": "query",
            "source": "mes",
            "query": "erp_stock",
            "columns": {"item": "article", "location": "storage", "uom": "unit"},
        },
        "target": {"source": "mes", "entity": "stock", "columns": {"item": "material"}},
        "locations": {"C1": "cabinet-1", "C2": "cabinet-2"},
        "other_locations": "skip",
        "conversions": [
            {"uom": "PCE", "target_uom": "pcs", "factor": "1"},
            {"uom": "pack10", "target_uom": "pcs", "factor": "10"},
        ],
        "policy": "manual",
        "dry_run": True,
    }

    async def run(
        self, context: JobContext, parameters: InventorySyncParameters
    ) -> InventorySyncResult:
        """Compare and apply; what differs is in artifacts."""
        # polars is loaded by the job's own process alone.
        from lineshaft_job_runner.types.inventory import work  # noqa: PLC0415

        return await work.run(context, parameters)
