"""The words of a CloudEvents SQL expression (version 1.0, section 2)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

KEYWORDS = frozenset({"and", "or", "xor", "not", "like", "exists", "in", "true", "false"})

_TOKEN = re.compile(
    r"(?P<space>[ \t\r\n]+)"
    r"|(?P<text>'(?:\\.|[^'\\])*+'|\"(?:\\.|[^\"\\])*+\")"
    r"|(?P<word>[A-Za-z0-9_]++)"
    r"|(?P<sign><=|>=|<>|!=|[-+*/%=<>(),])",
    re.DOTALL,
)


class CesqlSyntaxError(ValueError):
    """The expression cannot be read; raised by the parser alone.

    `position` counts characters from 0; `code` tells what is wrong to programs.
    """

    def __init__(self, message: str, *, position: int, code: str = "cesql_syntax") -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position
        self.code = code


class Kind(Enum):
    """What a token is."""

    TEXT = "text"
    INTEGER = "integer"
    KEYWORD = "keyword"
    NAME = "name"
    SIGN = "sign"
    END = "the end"


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it stands: characters `start` to before `end`.

    `value` is a text's content, a keyword in lower case, or the word as it is.
    """

    kind: Kind
    value: str
    start: int
    end: int

    def is_any(self, *words: str) -> bool:
        """Tell whether it is one of these keywords or signs."""
        return self.kind in {Kind.KEYWORD, Kind.SIGN} and self.value in words


def tokens(expression: str) -> Iterator[Token]:
    """Split an expression; the last token is END. Raises CesqlSyntaxError."""
    place = 0
    while place < len(expression):
        found = _TOKEN.match(expression, place)
        if found is None:
            wrong = expression[place]
            if wrong in "'\"":
                raise CesqlSyntaxError("the text does not end", position=place)
            raise CesqlSyntaxError(f"{wrong!r} has no place here", position=place)
        if found.lastgroup != "space":
            yield _token(str(found.lastgroup), found.group(), place, found.end())
        place = found.end()
    yield Token(Kind.END, "", place, place)


def _token(group: str, word: str, start: int, end: int) -> Token:
    if group == "text":
        return Token(Kind.TEXT, word[1:-1].replace(f"\\{word[0]}", word[0]), start, end)
    if group == "sign":
        return Token(Kind.SIGN, word, start, end)
    if word.isdecimal():
        return Token(Kind.INTEGER, word, start, end)
    if word.lower() in KEYWORDS:
        return Token(Kind.KEYWORD, word.lower(), start, end)
    return Token(Kind.NAME, word, start, end)
