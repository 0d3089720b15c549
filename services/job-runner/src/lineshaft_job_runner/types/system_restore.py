"""Job type system.restore: a copy of a backup beside the original, tried before it is made."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.backups import RestoreParameters, RestoreResult

from lineshaft_job_runner.job_type import JobContext, JobType


class SystemRestore(JobType[RestoreParameters, RestoreResult]):
    """Restore a backup under a new name, after a dry run, item by item equal to the backup."""

    name: ClassVar[str] = "system.restore"
    title: ClassVar[str] = "Restore a backup"
    parameters = RestoreParameters
    result = RestoreResult
    timeout_seconds: ClassVar[float] = 6 * 3_600.0
    example: ClassVar[Mapping[str, Any]] = {"backup_set": "plant", "target": "plant_restored"}

    async def run(self, context: JobContext, parameters: RestoreParameters) -> RestoreResult:
        """Restore; nothing that exists is overwritten."""
        # obstore, zstandard and pyrage are loaded by the job's own process alone.
        from lineshaft_job_runner.types.backup import restoring  # noqa: PLC0415

        return await restoring.run(context, parameters)
