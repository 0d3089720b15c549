"""Cache-Control and its targeted relatives, parsed into directives."""

import re
from collections.abc import Iterable, Sequence

from lineshaft_cdn_edge.fields import members

SECONDS_MAX = 2**31
"""Longer times are as good as this one (RFC 9111 section 1.2.2)."""

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_NUMERIC = frozenset(
    {"max-age", "s-maxage", "stale-while-revalidate", "stale-if-error", "min-fresh", "max-stale"}
)


class Directives:
    """Directives by lower-case name, each with its values in order; None is "no value"."""

    def __init__(self, pairs: Iterable[tuple[str, str | None]] = ()) -> None:
        self._values: dict[str, list[str | None]] = {}
        for name, value in pairs:
            self._values.setdefault(name, []).append(value)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def __bool__(self) -> bool:
        return bool(self._values)

    def is_bare(self, name: str) -> bool:
        """Whether it is there without a value: `no-cache`, as opposed to `no-cache="a"`."""
        return None in self._values.get(name, ())

    def seconds(self, name: str) -> int | None:
        """Delta seconds, None when absent, 0 when unreadable: what cannot be read is stale.

        Of repeated directives the first counts (RFC 9111 section 4.2.1).
        """
        values = self._values.get(name)
        if values is None:
            return None
        return delta_seconds(values[0]) or 0

    def field_names(self, name: str) -> frozenset[str]:
        """Lower-case field names of the qualified form, `no-cache="set-cookie, a"`."""
        values = [value for value in self._values.get(name, ()) if value]
        return frozenset(member.lower() for member in members(values))


def delta_seconds(text: str | None) -> int | None:
    """Read a non-negative whole number, bounded by SECONDS_MAX; None when it is none."""
    if text is None or not _DIGITS.fullmatch(text):
        return None
    digits = text.lstrip("0") or "0"
    return SECONDS_MAX if len(digits) > 10 else min(int(digits), SECONDS_MAX)


def parse_cache_control(lines: Sequence[str]) -> Directives:
    """Parse Cache-Control leniently: what is unknown or malformed hides nothing around it."""
    return Directives(_directive(part) for line in lines for part in _split(line, ",") if part)


def _split(text: str, separator: str) -> list[str]:
    """Split outside quoted strings; an unclosed quote is taken as an ordinary character."""
    if '"' not in text:
        return [part.strip() for part in text.split(separator)]
    parts: list[str] = []
    start = index = 0
    while index < len(text):
        if text[index] == '"':
            index = _closing_quote(text, index)
        elif text[index] == separator:
            parts.append(text[start:index].strip())
            start = index + 1
        index += 1
    parts.append(text[start:].strip())
    return parts


def _closing_quote(text: str, opening: int) -> int:
    index = opening + 1
    while index < len(text):
        if text[index] == "\\":
            index += 1
        elif text[index] == '"':
            return index
        index += 1
    return opening


def _directive(part: str) -> tuple[str, str | None]:
    name, equals, value = part.partition("=")
    if not equals:
        return name.strip().lower(), None
    if name != name.rstrip():
        # `max-age =5` is no directive by the grammar; its value must not be trusted as a time.
        return name.strip().lower(), f"={value}"
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return name.lower(), value


_KEY = re.compile(r"[a-z*][a-z0-9_.*-]*")
_ITEM = re.compile(
    r"""(?P<number>-?\d{1,15}(?:\.\d{1,3})?)
      | "(?P<string>(?:[ !#-\[\]-~]|\\["\\])*)"
      | (?P<token>[A-Za-z*][!#$%&'*+.^_`|~0-9A-Za-z:/-]*)
      | :(?P<binary>[A-Za-z0-9+/=]*):
      | \?(?P<boolean>[01])""",
    re.VERBOSE | re.ASCII,
)


def parse_targeted(lines: Sequence[str]) -> Directives | None:
    """Parse CDN-Cache-Control, a Structured Fields dictionary (RFC 9213, RFC 9651).

    Returns None when it is absent, empty or malformed: it is then ignored as a whole. A
    directive of the wrong type is left out: a time has to be a whole number.
    """
    text = ", ".join(lines).strip(" ")
    pairs: dict[str, str | None] = {}
    index = 0
    while index < len(text):
        try:
            key, value, index = _member(text, index)
        except ValueError:
            return None
        pairs.pop(key, None)
        if value is not _LEFT_OUT and (key not in _NUMERIC or delta_seconds(value) is not None):
            pairs[key] = value
        index = _skip_blanks(text, index)
        if index < len(text):
            after = _skip_blanks(text, index + 1)
            if text[index] != "," or after == len(text):
                return None
            index = after
    return Directives(pairs.items()) if text else None


_LEFT_OUT = "\0"


def _member(text: str, index: int) -> tuple[str, str | None, int]:
    key = _KEY.match(text, index)
    if key is None:
        raise ValueError("a key is expected")
    index = key.end()
    value: str | None = None
    if text.startswith("=", index):
        value, index = _item(text, index + 1)
    while text.startswith(";", index):
        parameter = _KEY.match(text, _skip_blanks(text, index + 1))
        if parameter is None:
            raise ValueError("a parameter is expected")
        index = parameter.end()
        if text.startswith("=", index):
            _, index = _item(text, index + 1)
    return key.group(), value, index


def _item(text: str, index: int) -> tuple[str | None, int]:
    found = _ITEM.match(text, index)
    if found is None:
        raise ValueError("an item is expected")
    boolean = found["boolean"]
    if boolean is not None:
        return (None if boolean == "1" else _LEFT_OUT), found.end()
    if found["string"] is not None:
        return f'"{found["string"]}"', found.end()
    return found.group(), found.end()


def _skip_blanks(text: str, index: int) -> int:
    while index < len(text) and text[index] in " \t":
        index += 1
    return index


def parse_surrogate_control(lines: Sequence[str], *, name: str) -> Directives | None:
    """Parse Surrogate-Control (W3C Edge Architecture); None when nothing in it is for us.

    A directive may be targeted, `max-age=60;name`: those aimed at another device are left
    out, and those aimed at this one count before the general ones.
    """
    general: list[tuple[str, str | None]] = []
    targeted: list[tuple[str, str | None]] = []
    for line in lines:
        for part in filter(None, _split(line, ",")):
            directive, *targets = [piece.strip() for piece in _split(part, ";")]
            if name in targets:
                targeted.append(_directive(directive))
            elif not targets:
                general.append(_directive(directive))
    known = _NUMERIC | {"no-store"}
    pairs = [pair for pair in (*targeted, *general) if pair[0] in known]
    return Directives(pairs) if pairs else None
