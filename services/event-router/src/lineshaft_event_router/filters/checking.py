"""Refuses, when a subscription is made, filters that are not valid or can match no event.

A filter with a spelling mistake would wait for ever without a word; so what no event of the
wanted types can satisfy is an error with a pointer to it, and so is what costs too much.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from lineshaft_contracts.filters import DIALECTS, FILTERS, Filter
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, pointer
from lineshaft_contracts.registry import Contract
from pydantic import ValidationError

from lineshaft_event_router.filters.attribute_checking import check_attributes, did_you_mean
from lineshaft_event_router.filters.cesql_checking import check_expression
from lineshaft_event_router.filters.contract_fields import event_contracts
from lineshaft_event_router.filters.covers import covers, types_of
from lineshaft_event_router.filters.pattern_checking import check_pattern
from lineshaft_event_router.filters.patterns import Location
from lineshaft_event_router.filters.topics import TopicError, check_topic

PROBLEMS_MAX = 50


def read_filters(
    raw: Any, *, types: Sequence[str] = (), at: Location = ("filters",)
) -> tuple[Filter, ...]:
    """Read the filters of a subscription to these event types; of none: to all.

    Raises ProblemError with code `invalid_filters` (422); the pointers begin with `at`.
    """
    try:
        filters = FILTERS.validate_python(raw)
    except ValidationError as error:
        raise _refused(_shape_problems(error, at)) from None
    problems = check_filters(filters, types=types, at=at)
    if problems:
        raise _refused(problems)
    return filters


def check_filters(
    filters: Sequence[Filter], *, types: Sequence[str] = (), at: Location = ("filters",)
) -> list[FieldProblem]:
    """Return what is wrong with filters of the right shape."""
    wanted = event_contracts(types)
    narrowed = _narrowed(filters, wanted)
    return [
        problem
        for index, one in enumerate(filters)
        for problem in _check(one, wanted, narrowed, (*at, index))
    ]


def check_types(types: Sequence[str], *, at: Location = ("types",)) -> list[FieldProblem]:
    """Return which of these are no types of events."""
    known = [one.type for one in event_contracts(())]
    return [
        FieldProblem(
            pointer=pointer((*at, index)),
            code="unknown_event_type",
            message="no such event is known" + did_you_mean(one, known),
        )
        for index, one in enumerate(types)
        if one not in known
    ]


def check_topics(topics: Sequence[str], *, at: Location = ("topics",)) -> list[FieldProblem]:
    """Return what is wrong with patterns of the routing key."""
    problems = list[FieldProblem]()
    for index, topic in enumerate(topics):
        try:
            check_topic(topic)
        except TopicError as error:
            where = pointer((*at, index))
            problems.append(FieldProblem(pointer=where, code="invalid_topic", message=str(error)))
    return problems


def _narrowed(filters: Sequence[Filter], wanted: Sequence[Contract]) -> Sequence[Contract]:
    """Leave out the types that the filters themselves exclude."""
    try:
        types = types_of(covers(filters))
    except ValueError:  # It is told where the filter itself is checked.
        return wanted
    chosen = [one for one in wanted if types is None or one.type in types]
    return chosen or wanted


def _check(
    one: Filter, wanted: Sequence[Contract], narrowed: Sequence[Contract], at: Location
) -> Iterator[FieldProblem]:
    here = (*at, one.dialect)
    match one.dialect:
        case "exact" | "prefix" | "suffix":
            yield from check_attributes(one.dialect, one.value, wanted, here)
        case "sql":
            yield from check_expression(one.value, here)
        case "data":
            yield from check_pattern(one.value, narrowed, here)
        case "not":
            yield from _check(one.value, wanted, narrowed, here)
        case _:
            inner: Sequence[Filter] = one.value
            for index, each in enumerate(inner):
                yield from _check(each, wanted, narrowed, (*here, index))


def _shape_problems(error: ValidationError, at: Location) -> list[FieldProblem]:
    """Tell what is wrong with the shape; a list with a wrong element is not wrong itself."""
    errors = error.errors(include_url=False, include_context=False, include_input=False)
    places = [one["loc"] for one in errors]
    return [
        _shape_problem(one, at)
        for one in errors
        if not any(
            len(other) > len(one["loc"]) and other[: len(one["loc"])] == one["loc"]
            for other in places
        )
    ]


def _shape_problem(error: Any, at: Location) -> FieldProblem:
    location = tuple(part for part in error["loc"] if part != "[key]")
    code, message = str(error["type"]), str(error["msg"])
    if code == "extra_forbidden":
        code = "unsupported_dialect"
        message = f"{str(location[-1])[:40]!r} is not one of {', '.join(DIALECTS)}"
    return FieldProblem(pointer=pointer((*at, *location)), code=code, message=message)


def _refused(problems: Sequence[FieldProblem]) -> ProblemError:
    return ProblemError(
        Problem(
            code="invalid_filters",
            title="The filters are not valid",
            detail=f"{len(problems)} part(s) need attention",
            status=422,
            errors=tuple(problems[:PROBLEMS_MAX]),
        )
    )
