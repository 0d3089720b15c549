"""What of a job is checked at the door: its type, its parameters and the keys that name it."""

from typing import Any

from lineshaft_contracts.job_types import BUILT_IN
from lineshaft_contracts.jobs import PARAMETERS_BYTES_MAX, JobKey
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, invalid
from pydantic import BaseModel, JsonValue, TypeAdapter, ValidationError
from pydantic_core import to_json

from lineshaft_gateway.catalogue import Catalogue
from lineshaft_gateway.json_input import refused

IDEMPOTENCY_KEY = "Idempotency-Key"
KEY_MAX = 255
UNKNOWN_TYPE = "unknown_job_type"
KEY: TypeAdapter[str] = TypeAdapter(JobKey)


class JobChecks:
    """Holds jobs against their types."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def check(
        self, job_type: str, parameters: dict[str, JsonValue], *, type_at: str = "/type"
    ) -> None:
        """Raise ProblemError for a type that nobody serves, or parameters that do not fit it.

        Of types that a worker brought, the worker itself checks the parameters. Raises
        NoReplyError or PublishError when the job-runner is away and the type is no built-in one.
        """
        size = len(to_json(parameters))
        if size > PARAMETERS_BYTES_MAX:
            raise ProblemError(_too_large(size))
        built_in = BUILT_IN.get(job_type)
        if built_in is not None:
            check_parameters(built_in[0], parameters)
            return
        if job_type in {known.name for known in await self._catalogue.job_types()}:
            return
        names = await self._catalogue.names()
        if job_type not in names:
            raise ProblemError(_unknown(job_type, names, type_at))


def check_parameters(model: type[BaseModel], parameters: dict[str, Any]) -> None:
    """Hold parameters against their type's model; raises ProblemError with pointers."""
    try:
        model.model_validate(parameters)
    except ValidationError as error:
        raise ProblemError(
            invalid(error.errors(include_url=False), prefix=("parameters",))
        ) from None


def key_of_header(value: str) -> str:
    """Read an idempotency key out of its header field; raises ProblemError."""
    # The draft writes it as a quoted string; many clients leave the quotes out.
    quoted = len(value) > 1 and value[0] == value[-1] == '"'
    try:
        return KEY.validate_python(value[1:-1] if quoted else value)
    except ValidationError as error:
        errors = error.errors(include_url=False)
        raise ProblemError(invalid(errors, prefix=("header", IDEMPOTENCY_KEY))) from None


def one_key(in_body: str | None, in_header: str | None) -> str | None:
    """Choose the key of a submission that may be named twice; raises ProblemError."""
    if in_header is None:
        return in_body
    key = key_of_header(in_header)
    if in_body is not None and in_body != key:
        raise refusal("/idempotency_key", "contradiction", f"differs from {IDEMPOTENCY_KEY}")
    return key


def refusal(pointer: str, code: str, message: str) -> ProblemError:
    """Make the 422 of one field."""
    return ProblemError(refused((FieldProblem(pointer=pointer, code=code, message=message),)))


def _too_large(size: int) -> Problem:
    message = f"{size} bytes as JSON; at most {PARAMETERS_BYTES_MAX} are accepted"
    return Problem(
        code="parameters_too_large",
        title="The parameters are too large",
        detail=message,
        status=413,
        errors=(FieldProblem(pointer="/parameters", code="too_large", message=message),),
    )


def _unknown(job_type: str, names: list[str], type_at: str) -> Problem:
    message = f"known types: {', '.join(names)}"
    return Problem(
        code=UNKNOWN_TYPE,
        title="The job type is not known",
        detail=f"No live worker serves {job_type}; {message}",
        status=422,
        errors=(FieldProblem(pointer=type_at, code=UNKNOWN_TYPE, message=message),),
    )
