"""An event as filters see it: the JSON object of a structured-mode CloudEvent."""

from collections.abc import Callable
from typing import Any, TypeAlias

Event: TypeAlias = dict[str, Any]
"""Attributes by name, and `data`; a JSON null is an absent attribute, as CloudEvents says."""
Predicate: TypeAlias = Callable[[Event], bool]

NO_ATTRIBUTES = frozenset({"data", "data_base64"})
"""Members of the object that are the payload."""


def text_of(value: Any) -> str:
    """Write an attribute's value as CloudEvents does, booleans in lower case."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)
