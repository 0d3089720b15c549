"""The typed answer when a command or query cannot be done (RFC 9457 problem details)."""

from typing import Any

from lineshaft_contracts.envelope import Message, Value
from lineshaft_contracts.registry import Kind, message


class FieldProblem(Value):
    """What is wrong with one field of the input."""

    pointer: str
    """JSON Pointer (RFC 6901) to the field, from the root of the body."""
    code: str
    message: str


@message("lineshaft.problem.v1", kind=Kind.REPLY, owner="any")
class Problem(Message):
    """Sent instead of the reply; `status` is the HTTP status that fits."""

    code: str
    """Stable, machine-readable, snake_case."""
    title: str
    detail: str = ""
    status: int = 500
    retry_after_seconds: float | None = None
    errors: tuple[FieldProblem, ...] = ()


class ProblemError(Exception):
    """Raised by a handler to answer with a problem, and by whoever asked when one comes back."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.detail or problem.title}")
        self.problem = problem


def pointer(location: tuple[int | str, ...]) -> str:
    """Write a location of pydantic's as a JSON Pointer."""
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in location)


def invalid(errors: list[Any], *, prefix: tuple[int | str, ...] = ()) -> Problem:
    """Make the 422 problem of pydantic's errors; input values are not echoed."""
    fields = tuple(
        FieldProblem(
            pointer=pointer((*prefix, *error["loc"])), code=error["type"], message=error["msg"]
        )
        for error in errors[:50]
    )
    return Problem(
        code="invalid_input",
        title="The input is not valid",
        detail=f"{len(errors)} field(s) need attention",
        status=422,
        errors=fields,
    )
