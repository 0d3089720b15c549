"""Refuses filters on attributes that no event has, and on words that an attribute never is."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches

from lineshaft_contracts.envelope import Envelope, Priority
from lineshaft_contracts.problems import FieldProblem, pointer
from lineshaft_contracts.registry import Contract

from lineshaft_event_router.filters.patterns import Location

ATTRIBUTES: frozenset[str] = frozenset(Envelope.model_fields) - {"data"}
"""What events have; other extension attributes are dropped at the door."""


def unknown_attribute(name: str) -> str:
    """Say why no event has an attribute; empty when events may have it."""
    if name in ATTRIBUTES:
        return ""
    if name in {"data", "database64"}:
        return "the payload is no attribute; use the dialect data"
    return f"no event has an attribute {name[:40]!r}" + did_you_mean(name, ATTRIBUTES)


def did_you_mean(word: str, known: Collection[str]) -> str:
    """Say which known word is nearest to one that is not known, if any is near."""
    near = get_close_matches(word[:128], known, n=1)
    return f"; do you mean {near[0]!r}?" if near else ""


def check_attributes(
    dialect: str, attributes: Mapping[str, str], wanted: Sequence[Contract], at: Location
) -> Iterator[FieldProblem]:
    """Give what is wrong with a filter `exact`, `prefix` or `suffix` on events of these types."""
    words = {
        "type": [one.type for one in wanted],
        "priority": list(Priority),
        "specversion": ["1.0"],
        "datacontenttype": ["application/json"],
    }
    for name, text in attributes.items():
        where = pointer((*at, name))
        reason = unknown_attribute(name)
        if reason:
            yield FieldProblem(pointer=where, code="unknown_attribute", message=reason)
        elif name in words and not any(_holds(dialect, word, text) for word in words[name]):
            code = "unknown_event_type" if name == "type" else "never_matches"
            message = f"no {name} of the wanted events is like that"
            message += did_you_mean(text, words[name])
            yield FieldProblem(pointer=where, code=code, message=message)


def _holds(dialect: str, word: str, text: str) -> bool:
    if dialect == "prefix":
        return word.startswith(text)
    return word.endswith(text) if dialect == "suffix" else word == text
