"""Texts with wildcards, matched without the backtracking that makes a hostile pattern slow.

A pattern is a sequence of texts and of wildcards for one or many characters. After each text that
follows a wildcard was found at its first possible place it stays there (atomic groups), which is
right because what comes after can only gain by an earlier place. So the time is at most the
product of the two lengths.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import Enum
from typing import TypeAlias


class Wild(Enum):
    """What a wildcard stands for."""

    ONE = "one character"
    MANY = "any number of characters"


Part: TypeAlias = str | Wild


class WildcardError(ValueError):
    """The pattern is not valid; the message says why."""


def matcher(parts: Sequence[Part]) -> Callable[[str], bool]:  # noqa: PLR0911 - one for each shape
    """Compile a pattern to a function of a text."""
    tidy = tuple(_tidy(parts))
    match tidy:
        case ():
            return lambda text: text == ""
        case (str(only),):
            return only.__eq__
        case (Wild.MANY,):
            return lambda _: True
        case (str(head), Wild.MANY):
            return lambda text: text.startswith(head)
        case (Wild.MANY, str(tail)):
            return lambda text: text.endswith(tail)
        case (Wild.MANY, str(middle), Wild.MANY):
            return lambda text: middle in text
        case _:
            found = re.compile(_expression(tidy), re.DOTALL).match
            return lambda text: found(text) is not None


def fixed_ends(parts: Sequence[Part]) -> tuple[str, str, bool]:
    """Return the text that a match begins with, that it ends with, and whether that is all."""
    tidy = tuple(_tidy(parts))
    if not tidy:
        return "", "", True
    if len(tidy) == 1 and isinstance(tidy[0], str):
        return tidy[0], tidy[0], True
    head = tidy[0] if isinstance(tidy[0], str) else ""
    tail = tidy[-1] if isinstance(tidy[-1], str) else ""
    return head, tail, False


def _tidy(parts: Iterable[Part]) -> Iterator[Part]:
    """Join neighbouring texts; several MANY in a row are one."""
    text, many = "", False
    for part in parts:
        if isinstance(part, str):
            text, many = text + part, False
            continue
        if text:
            yield text
            text = ""
        if part is Wild.ONE or not many:
            yield part
        many = part is Wild.MANY
    if text:
        yield text


def _expression(parts: Sequence[Part]) -> str:
    segments: list[list[str]] = [[]]
    for part in parts:
        if part is Wild.MANY:
            segments.append([])
        else:
            segments[-1].append("." if part is Wild.ONE else re.escape(str(part)))
    first, *others = ("".join(segment) for segment in segments)
    if not others:
        return rf"{first}\Z"
    *middle, last = others
    return first + "".join(f"(?>.*?{segment})" for segment in middle) + rf".*{last}\Z"


def like(pattern: str) -> list[Part]:
    """Read a LIKE pattern of SQL: `%` many, `_` one, either of them literal after a backslash."""
    parts = list[Part]()
    escaped = False
    for character in pattern:
        if escaped:
            parts.append(character if character in "%_" else f"\\{character}")
            escaped = False
        elif character == "\\":
            escaped = True
        else:
            parts.append({"%": Wild.MANY, "_": Wild.ONE}.get(character, character))
    return [*parts, "\\"] if escaped else parts


def asterisks(pattern: str) -> list[Part]:
    r"""Read a `wildcard` pattern: `*` many; `\*` and `\\` are literal. Raises WildcardError."""
    parts = list[Part]()
    escaped = False
    for character in pattern:
        if escaped:
            if character not in "*\\":
                raise WildcardError("a backslash stands before * or another backslash alone")
            parts.append(character)
            escaped = False
        elif character == "\\":
            escaped = True
        elif character != "*":
            parts.append(character)
        elif parts and parts[-1] is Wild.MANY:
            raise WildcardError("two * in a row say no more than one")
        else:
            parts.append(Wild.MANY)
    if escaped:
        raise WildcardError("ends with a single backslash")
    return parts
