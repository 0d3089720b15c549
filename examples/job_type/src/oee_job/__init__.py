"""A job type of one's own: the overall equipment effectiveness (ISO 22400-2) of a machine."""

from lineshaft_job_runner.job_type import Isolation, JobContext, JobType, PermanentError
from pydantic import BaseModel, Field


class Shift(BaseModel):
    """What a machine did in a shift."""

    planned_seconds: float = Field(gt=0)
    running_seconds: float = Field(ge=0)
    ideal_cycle_seconds: float = Field(gt=0)
    made: int = Field(ge=0)
    good: int = Field(ge=0)


class Oee(BaseModel):
    """Share of the planned time in which good parts were made at full speed, 0 to 1."""

    oee: float


class ComputeOee(JobType[Shift, Oee]):
    """Computes availability x performance x quality of a shift."""

    name = "oee.compute"
    title = "Compute the OEE of a machine"
    parameters = Shift
    result = Oee
    example = {  # noqa: RUF012 - read only.
        "planned_seconds": 28800,
        "running_seconds": 25200,
        "ideal_cycle_seconds": 30,
        "made": 756,
        "good": 700,
    }
    isolation = Isolation.LOOP  # It is short; PROCESS, the default, is for work that computes.

    async def run(self, context: JobContext, parameters: Shift) -> Oee:
        """Divide the ideal time of the good parts by the planned time."""
        if parameters.good > parameters.made:
            raise PermanentError("counts_wrong", "more good parts than parts were made")
        context.progress(1, 1, "computed")
        ideal_seconds = parameters.good * parameters.ideal_cycle_seconds
        return Oee(oee=round(ideal_seconds / parameters.planned_seconds, 4))
