"""Job type production.schedule: when and where each operation of the orders is done."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_contracts.scheduling import ScheduleParameters, ScheduleResult

from lineshaft_job_runner.job_type import JobContext, JobType


class ProductionSchedule(JobType[ScheduleParameters, ScheduleResult]):
    """A schedule of orders on resources with calendars: a proposal, with a bound on how good."""

    name: ClassVar[str] = "production.schedule"
    title: ClassVar[str] = "Schedule production"
    parameters = ScheduleParameters
    result = ScheduleResult
    timeout_seconds: ClassVar[float] = 4_000.0
    memory_bytes_max: ClassVar[int | None] = 2 * 1024**3
    example: ClassVar[Mapping[str, Any]] = {
        "horizon_start": "2026-11-30T05:00:00Z",
        "timezone": "Europe/Berlin",
        "queries": {
            "source": "mes",
            "changeovers": "schedule_changeovers",
            "exceptions": "schedule_exceptions",
            "requirements": "schedule_requirements",
        },
        "objectives": ["weighted_tardiness", "setup"],
        "solve_seconds_max": 20,
    }

    async def run(self, context: JobContext, parameters: ScheduleParameters) -> ScheduleResult:
        """Search for the best schedule; it is checked by other code before it is answered."""
        # OR-Tools loads numpy and pandas: the job's own process alone pays for that.
        from lineshaft_job_runner.types.scheduling import work  # noqa: PLC0415

        return await work.run(context, parameters)
