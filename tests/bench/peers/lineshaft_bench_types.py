"""The job type that is measured, installed like a user's own: it does what every peer's does."""

from collections.abc import Mapping
from typing import Any, ClassVar

from lineshaft_job_runner.job_type import Isolation, JobContext, JobType
from pydantic import BaseModel
from records import note


class Parameters(BaseModel):
    """When it was submitted, in seconds of this machine's clock."""

    submitted_at: float


class Result(BaseModel):
    """Nothing."""


class Note(JobType[Parameters, Result]):
    """Writes down when it was submitted and when it began."""

    name = "bench.note"
    title = "Note"
    parameters = Parameters
    result = Result
    example: ClassVar[Mapping[str, Any]] = {"submitted_at": 0.0}
    isolation = Isolation.LOOP
    timeout_seconds = 30
    attempts_max = 3

    async def run(self, context: JobContext, parameters: Parameters) -> Result:
        """Do what every measured job does."""
        note(parameters.submitted_at)
        return Result()
