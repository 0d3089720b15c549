"""Reading JSON that a client sent: refused when it cannot be kept or nobody needs it so deep."""

import math
import re
from collections.abc import Iterator
from typing import Any, TypeVar, cast

from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, invalid, pointer
from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

DEPTH_MAX = 32
ERRORS_MAX = 50
_HUGE = re.compile(rb"[eE]\+?[0-9]{3}|[0-9]{300}")
"""What a number that is too large for a float has in its text."""

M = TypeVar("M", bound=BaseModel)


def read(model: type[M], body: bytes) -> M:
    """Read a JSON text into a model, strictly; raises ProblemError as `parse` does."""
    if not is_harmless(body):
        parse(body)
    try:
        return model.model_validate_json(body, strict=True)
    except ValidationError as error:
        parse(body)
        raise ProblemError(invalid(error.errors(include_url=False))) from None


def is_harmless(body: bytes) -> bool:
    """Tell by its bytes that a text can hold nothing that `parse` refuses but bad syntax.

    Nearly every text can be told so, and then nobody has to walk through its values.
    """
    return (
        body.count(b"{") + body.count(b"[") <= DEPTH_MAX
        and b"\\u0000" not in body
        and b"NaN" not in body
        and b"Infinity" not in body
        and _HUGE.search(body) is None
    )


def parse(body: bytes, *, depth_max: int = DEPTH_MAX) -> Any:
    """Read a JSON text. Raises ProblemError `invalid_json` (400) or `invalid_input` (422)."""
    value = load(body)
    errors = tuple(_problems(value, (), depth_max))
    if errors:
        raise ProblemError(refused(errors))
    return value


def load(body: bytes) -> Any:
    """Read a JSON text, whatever is in it; raises ProblemError `invalid_json` (400)."""
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise ProblemError(
            Problem(
                code="invalid_json",
                title="The body is not JSON",
                detail=str(error)[:200],
                status=400,
                errors=(FieldProblem(pointer="", code="invalid_json", message=str(error)[:200]),),
            )
        ) from None


def refused(errors: tuple[FieldProblem, ...]) -> Problem:
    """Make the 422 problem of these errors."""
    return Problem(
        code="invalid_input",
        title="The input is not valid",
        detail=f"{len(errors)} field(s) need attention",
        status=422,
        errors=errors[:ERRORS_MAX],
    )


def _problems(value: Any, path: tuple[int | str, ...], depth_max: int) -> Iterator[FieldProblem]:
    if isinstance(value, str):
        if "\0" in value:
            yield _nul(path)
        return
    if isinstance(value, float) and math.isinf(value):
        message = "the number is too large"
        yield FieldProblem(pointer=pointer(path), code="finite_number", message=message)
        return
    if not isinstance(value, dict | list):
        return
    if len(path) >= depth_max:
        message = f"at most {depth_max} levels are accepted"
        yield FieldProblem(pointer=pointer(path), code="too_deep", message=message)
        return
    if isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            yield from _problems(item, (*path, index), depth_max)
        return
    for name, field in cast("dict[str, Any]", value).items():
        if "\0" in name:
            yield _nul(path)
        yield from _problems(field, (*path, name), depth_max)


def _nul(path: tuple[int | str, ...]) -> FieldProblem:
    message = "NUL characters are not accepted"
    return FieldProblem(pointer=pointer(path), code="nul_character", message=message)
