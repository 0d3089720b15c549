"""The job types that this runner serves: the built-in ones and those of installed packages."""

from collections.abc import Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any

from lineshaft_contracts.job_catalogue import JobTypeView
from lineshaft_contracts.problems import Problem, ProblemError, invalid
from pydantic import BaseModel, ValidationError

from lineshaft_job_runner.job_type import Isolation, JobType

ENTRY_POINTS = "lineshaft.job_types"

AnyJobType = JobType[Any, Any]


class Catalogue:
    """Job types by name."""

    def __init__(self, job_types: Iterable[AnyJobType]) -> None:
        self._by_name: Mapping[str, AnyJobType] = {t.name: t for t in job_types}

    @classmethod
    def installed(cls) -> "Catalogue":
        """Load what packages registered under the entry point `lineshaft.job_types`."""
        return cls(entry.load()() for entry in entry_points(group=ENTRY_POINTS))

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def find(self, name: str) -> AnyJobType:
        """Return a job type; problem `unknown_job_type` names the ones there are."""
        try:
            return self._by_name[name]
        except KeyError:
            known = ", ".join(sorted(self._by_name))
            raise ProblemError(
                Problem(
                    code="unknown_job_type",
                    title="No worker serves this job type",
                    detail=f"{name!r} is not one of: {known}",
                    status=422,
                )
            ) from None

    def validated(self, name: str, parameters: Mapping[str, Any]) -> BaseModel:
        """Return the parameters as their model; problem `invalid_input` points at each field."""
        job_type = self.find(name)
        try:
            return job_type.parameters.model_validate(parameters, extra="forbid")
        except ValidationError as error:
            raise ProblemError(invalid(error.errors(), prefix=("parameters",))) from None

    def names(self, isolation: Isolation) -> list[str]:
        """List the types that run in this way."""
        return sorted(t.name for t in self._by_name.values() if t.isolation is isolation)

    def views(self) -> tuple[JobTypeView, ...]:
        """Describe all types to clients."""
        return tuple(_view(self._by_name[name]) for name in sorted(self._by_name))


def _view(job_type: AnyJobType) -> JobTypeView:
    return JobTypeView(
        name=job_type.name,
        title=job_type.title,
        description=(job_type.__doc__ or "").strip(),
        parameters_schema=job_type.parameters.model_json_schema(),
        result_schema=job_type.result.model_json_schema(),
        example=dict(job_type.example),
        timeout_seconds=job_type.timeout_seconds,
        attempts_max=job_type.attempts_max,
        memory_bytes_max=job_type.memory_bytes_max,
        isolation=job_type.isolation,
    )
