"""Things that their owner names in the path."""

from lineshaft_contracts.job_control import Slug
from lineshaft_contracts.problems import Problem, ProblemError, invalid
from pydantic import TypeAdapter, ValidationError

from lineshaft_gateway.operations import Call, Parameter

SLUG: TypeAdapter[str] = TypeAdapter(Slug)
NAME = Parameter(
    name="name",
    place="path",
    description="Its name.",
    schema={"type": "string", "pattern": "^[a-z0-9][a-z0-9_-]{0,63}$"},
)


def name_of(call: Call, *, missing: Problem | None = None) -> str:
    """Read the name of the path; what cannot be one is `missing`, or 422 without it."""
    try:
        return SLUG.validate_python(call.request.match_info["name"])
    except ValidationError as error:
        if missing is not None:
            raise ProblemError(missing) from None
        errors = error.errors(include_url=False)
        raise ProblemError(invalid(errors, prefix=("path", "name"))) from None
