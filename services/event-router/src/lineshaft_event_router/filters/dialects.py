"""The six dialects that CloudEvents requires: exact, prefix, suffix, all, any, not."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from lineshaft_event_router.filters.events import NO_ATTRIBUTES, Event, Predicate, text_of


def exact(attributes: Mapping[str, str]) -> Predicate:
    """Every attribute equals its text; an absent one equals none."""
    return all_of([_equals(name, text) for name, text in attributes.items()])


def prefix(attributes: Mapping[str, str]) -> Predicate:
    """Every attribute begins with its text."""
    return all_of([_tested(name, text, str.startswith) for name, text in attributes.items()])


def suffix(attributes: Mapping[str, str]) -> Predicate:
    """Every attribute ends with its text."""
    return all_of([_tested(name, text, str.endswith) for name, text in attributes.items()])


def all_of(predicates: Sequence[Predicate]) -> Predicate:
    """Every one is true."""
    match tuple(predicates):
        case ():
            return lambda _: True
        case (only,):
            return only
        case (first, second):
            return lambda event: first(event) and second(event)
        case several:

            def every(event: Event) -> bool:
                for predicate in several:  # noqa: SIM110 - a generator would double its time
                    if not predicate(event):
                        return False
                return True

            return every


def any_of(predicates: Sequence[Predicate]) -> Predicate:
    """At least one is true."""
    several = tuple(predicates)
    if len(several) == 1:
        return several[0]

    def some(event: Event) -> bool:
        for predicate in several:  # noqa: SIM110 - a generator would double its time
            if predicate(event):
                return True
        return False

    return some


def none_of(predicate: Predicate) -> Predicate:
    """Turn a predicate round: it is then true also of an event that lacks what it asks for."""
    return lambda event: not predicate(event)


def _equals(name: str, text: str) -> Predicate:
    if name in NO_ATTRIBUTES:
        return lambda _: False

    def equals(event: Event) -> bool:
        value = event.get(name)
        if value.__class__ is str:
            return value == text
        return value is not None and text_of(value) == text

    return equals


def _tested(name: str, text: str, test: Callable[[str, str], bool]) -> Predicate:
    if name in NO_ATTRIBUTES:
        return lambda _: False

    def tested(event: Event) -> bool:
        value: Any = event.get(name)
        if value.__class__ is str:
            return test(value, text)
        return value is not None and test(text_of(value), text)

    return tested
