"""Job type system.backup: a backup that was restored before it counts."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.backups import BackupParameters, BackupResult

from lineshaft_job_runner.job_type import JobContext, JobType


class SystemBackup(JobType[BackupParameters, BackupResult]):
    """Back a configured set up, restore it into a scratch place, compare, and thin out."""

    name: ClassVar[str] = "system.backup"
    title: ClassVar[str] = "Back up"
    parameters = BackupParameters
    result = BackupResult
    timeout_seconds: ClassVar[float] = 6 * 3_600.0
    example: ClassVar[Mapping[str, Any]] = {"backup_set": "plant"}

    async def run(self, context: JobContext, parameters: BackupParameters) -> BackupResult:
        """Make a backup; it exists from the moment its manifest does."""
        # obstore, zstandard and pyrage are loaded by the job's own process alone.
        from lineshaft_job_runner.types.backup import work  # noqa: PLC0415

        return await work.run(context, parameters)
