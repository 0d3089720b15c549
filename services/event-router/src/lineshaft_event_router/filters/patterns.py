"""Patterns of the payload in the manner of Amazon EventBridge, kept consistent within arrays.

An object asks that all of its fields hold, a list that one of its conditions does, `$or` that one
of its objects does. Where the event has an array of objects, one element must satisfy everything
that the pattern asks below that place; where it has an array of plain values, one of them must.
A pattern that only asks for absence must hold for every element.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias, cast

from lineshaft_event_router.filters.conditions import (
    LIST_MAX,
    Condition,
    ConditionError,
    Test,
    condition,
)

Location: TypeAlias = tuple[int | str, ...]
Matches: TypeAlias = Callable[[Any], bool]
"""Of the event's value at the place that a part of a pattern speaks of."""

OR = "$or"


class Absent:
    """Stands for a field that the event does not have, or has as an object."""


ABSENT = Absent()


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf:
    """A field with the conditions of which one must hold."""

    location: Location
    """From the root of the pattern."""
    path: tuple[str, ...]
    """Names of the fields from the root of the payload."""
    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """An object of the pattern: all of its fields and all of its choices must hold."""

    location: Location
    path: tuple[str, ...]
    fields: tuple[tuple[str, "Leaf | Group"], ...]
    choices: tuple[tuple["Group", ...], ...]
    """Of each `$or` one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternProblem:
    """Why a part of a pattern is not valid."""

    location: Location
    message: str


class PatternError(ValueError):
    """The pattern is not valid; `problems` says why."""

    def __init__(self, problems: Sequence[PatternProblem]) -> None:
        super().__init__("; ".join(problem.message for problem in problems))
        self.problems = tuple(problems)


def read_pattern(pattern: dict[str, Any]) -> Group:
    """Read a pattern; raises PatternError with everything that is wrong."""
    problems = list[PatternProblem]()
    group = _group(pattern, (), (), problems)
    if problems:
        raise PatternError(problems)
    return group


def _group(
    pattern: dict[str, Any], at: Location, path: tuple[str, ...], problems: list[PatternProblem]
) -> Group:
    fields = list[tuple[str, Leaf | Group]]()
    choices = list[tuple[Group, ...]]()
    if not pattern:
        problems.append(PatternProblem(location=at, message="an empty object asks for nothing"))
    for name, wanted in pattern.items():
        here, below = (*at, name), (*path, name)
        if name == OR:
            choices.append(_alternatives(wanted, here, path, problems))
        elif isinstance(wanted, dict):
            inner = cast("dict[str, Any]", wanted)
            fields.append((name, _group(inner, here, below, problems)))
        elif isinstance(wanted, list) and 1 <= len(cast("list[Any]", wanted)) <= LIST_MAX:
            fields.append((name, _leaf(cast("list[Any]", wanted), here, below, problems)))
        else:
            message = f"must be an object, or a list of 1 to {LIST_MAX} values and conditions"
            problems.append(PatternProblem(location=here, message=message))
    group = Group(location=at, path=path, fields=tuple(fields), choices=tuple(choices))
    for name in sorted(_asked_apart(group)):
        message = f"{name[:40]!r} stands beside {OR} and in it: use a second filter for one"
        problems.append(PatternProblem(location=at, message=message))
    return group


def _asked_apart(group: Group) -> set[str]:
    """Return the objects that are asked for in several places, which arrays could tear apart."""
    places = [_names(replace(group, choices=()))]
    places += [_names(replace(group, fields=(), choices=(one,))) for one in group.choices]
    counts = Counter(name for place in places for name in place)
    return {name for place in places for name, deep in place.items() if deep and counts[name] > 1}


def _names(group: Group) -> dict[str, bool]:
    """Return the names of an object's fields, also in its choices; true for those of objects."""
    names = {name: isinstance(part, Group) for name, part in group.fields}
    for one in (one for choice in group.choices for one in choice):
        for name, deep in _names(one).items():
            names[name] = names.get(name, False) or deep
    return names


def _alternatives(
    wanted: Any, at: Location, path: tuple[str, ...], problems: list[PatternProblem]
) -> tuple[Group, ...]:
    listed = cast("list[Any]", wanted) if isinstance(wanted, list) else []
    if not 2 <= len(listed) <= LIST_MAX or not all(isinstance(one, dict) for one in listed):
        message = f"must be a list of 2 to {LIST_MAX} objects"
        problems.append(PatternProblem(location=at, message=message))
        return ()
    return tuple(_group(one, (*at, index), path, problems) for index, one in enumerate(listed))


def _leaf(
    wanted: list[Any], at: Location, path: tuple[str, ...], problems: list[PatternProblem]
) -> Leaf:
    conditions = list[Condition]()
    for index, one in enumerate(wanted):
        try:
            conditions.append(condition(one))
        except ConditionError as error:
            problems.append(PatternProblem(location=(*at, index), message=str(error)))
    return Leaf(location=at, path=path, conditions=tuple(conditions))


def leaves(group: Group) -> Iterator[Leaf]:
    """Give every field with conditions, at any depth and in any choice."""
    for _, part in group.fields:
        if isinstance(part, Leaf):
            yield part
        else:
            yield from leaves(part)
    for alternatives in group.choices:
        for alternative in alternatives:
            yield from leaves(alternative)


def values_of(value: Any) -> list[Any]:
    """Return the plain values at a place: itself, or those of an array; none for an object."""
    if isinstance(value, list):
        return [one for inner in cast("list[Any]", value) for one in values_of(inner)]
    return [] if isinstance(value, dict | Absent) else [value]


def objects_of(value: Any) -> list[dict[str, Any]]:
    """Return the objects at a place: itself, or those of an array."""
    if isinstance(value, dict):
        return [cast("dict[str, Any]", value)]
    if isinstance(value, list):
        return [one for inner in cast("list[Any]", value) for one in objects_of(inner)]
    return []


def matches_of(part: Leaf | Group) -> Matches:
    """Compile a part of a pattern."""
    return _leaf_matches(part) if isinstance(part, Leaf) else _group_matches(part)


def asks_for_absence(group: Group) -> bool:
    """Tell whether nothing is asked for but that fields are not there."""
    return all(all(one.absent for one in leaf.conditions) for leaf in leaves(group))


def _group_matches(group: Group) -> Matches:
    fields = tuple((name, matches_of(part)) for name, part in group.fields)
    choices = tuple(tuple(map(_object_matches, one)) for one in group.choices)
    of_object = _all_of(fields, choices)
    of_several = all if asks_for_absence(group) else any

    def matches(value: Any) -> bool:
        if isinstance(value, dict):
            return of_object(cast("dict[str, Any]", value))
        objects = objects_of(value)
        return of_several(map(of_object, objects)) if objects else of_object({})

    return matches


def _object_matches(group: Group) -> Callable[[dict[str, Any]], bool]:
    fields = tuple((name, matches_of(part)) for name, part in group.fields)
    return _all_of(fields, tuple(tuple(map(_object_matches, one)) for one in group.choices))


def matches_of_payload(group: Group) -> Matches:
    """Compile a pattern: the same as `matches_of`, and fast where there are no arrays."""
    exactly = _group_matches(group)
    listed = [*leaves(group)]
    if _has_choices(group):
        return exactly
    tests = tuple(
        (one.path[:-1], one.path[-1], accepts(one), any(c.absent for c in one.conditions))
        for one in listed
    )

    def matches(data: Any) -> bool:
        for path, name, test, or_absent in tests:
            value = data
            for word in path:
                if value.__class__ is not dict:
                    break
                value = value.get(word)
            if value.__class__ is list:
                return exactly(data)
            value = value.get(name, ABSENT) if value.__class__ is dict else ABSENT
            kind = value.__class__
            if kind is list:
                return exactly(data)
            if not (or_absent if kind is Absent or kind is dict else test(value)):
                return False
        return True

    return matches


def _has_choices(group: Group) -> bool:
    inner = [part for _, part in group.fields if isinstance(part, Group)]
    return bool(group.choices) or any(map(_has_choices, inner))


def _all_of(
    fields: tuple[tuple[str, Matches], ...],
    choices: tuple[tuple[Callable[[dict[str, Any]], bool], ...], ...],
) -> Callable[[dict[str, Any]], bool]:
    def all_of(found: dict[str, Any]) -> bool:
        for name, matches in fields:
            if not matches(found.get(name, ABSENT)):
                return False
        for alternatives in choices:
            if not any(alternative(found) for alternative in alternatives):
                return False
        return True

    if len(fields) == 1 and not choices:
        ((only, of_field),) = fields
        return lambda found: of_field(found.get(only, ABSENT))
    return all_of


def _leaf_matches(leaf: Leaf) -> Matches:
    test = accepts(leaf)
    or_absent = any(one.absent for one in leaf.conditions)

    def matches(value: Any) -> bool:
        if isinstance(value, str | int | float) or value is None:
            return test(value)
        values = values_of(value)
        return any(map(test, values)) if values else or_absent

    return matches


def accepts(leaf: Leaf) -> Test:
    """Compile the conditions on one plain value that is there."""
    texts = frozenset(
        one.operand
        for one in leaf.conditions
        if one.keyword == "exact" and isinstance(one.operand, str)
    )
    tests = tuple(
        one.test
        for one in leaf.conditions
        if not (one.keyword == "exact" and isinstance(one.operand, str))
    )
    if not tests:
        return lambda value: value.__class__ is str and value in texts
    if len(tests) == 1 and not texts:
        return tests[0]
    return lambda value: (
        (value.__class__ is str and value in texts) or any(test(value) for test in tests)
    )
