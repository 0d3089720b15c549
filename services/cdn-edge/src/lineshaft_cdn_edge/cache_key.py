"""One name for one resource: the normalised target that is both the cache key and what is asked.

Whatever is left out of the key is also left out of the request to the origin, so that no input
of a client can change a stored response without changing its key.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase

_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]|[^\x00-\x7f]")
_ABSOLUTE = re.compile(r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.IGNORECASE)
_AUTHORITY = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~%!$&'()*+;=-]+)(?::(?P<port>\d{0,5}))?"
)
_DEFAULT_PORTS = frozenset({"", "80", "443"})


class InvalidTargetError(ValueError):
    """The request target is no path or URL that can be asked of the origin."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheKey:
    """A resource: `host` is empty when hosts are not told apart."""

    host: str
    path: str
    query: str

    @property
    def target(self) -> str:
        """Path and query, as the origin is asked for them."""
        return f"{self.path}?{self.query}" if self.query else self.path

    def __str__(self) -> str:
        return f"//{self.host}{self.target}" if self.host else self.target


@dataclass(frozen=True, kw_only=True)
class QueryRule:
    """What of a query matters: parameters matching a pattern are stripped, the rest may be sorted.

    Sorting joins URLs that differ in order alone; it is right only for origins that do not care.
    """

    strip: tuple[str, ...] = ()
    sort: bool = False

    def apply(self, query: str) -> str:
        """Return the query to key by and to send."""
        if not query:
            return query
        pairs = [pair for pair in query.split("&") if not self._is_stripped(pair)]
        return "&".join(sorted(pairs) if self.sort else pairs)

    def _is_stripped(self, pair: str) -> bool:
        name = pair.partition("=")[0].lower()
        return any(fnmatchcase(name, pattern) for pattern in self.strip)


@dataclass(frozen=True, kw_only=True)
class KeyMaker:
    """Normalises targets: host case, default port, dot segments, percent-encoding, query.

    `keyed_host` says whether the client's Host is part of the key and sent to the origin;
    otherwise it is neither, and every host name of the edge shares one set of responses.
    """

    keyed_host: bool = False
    query: QueryRule = QueryRule()

    def key(self, target: str, authority: str) -> CacheKey:
        """Make the key of a request target in origin or absolute form.

        An absolute target names the host itself, whatever the Host field says (RFC 9112
        section 3.2.2). Raises InvalidTargetError.
        """
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute:
            authority, target = absolute["authority"], absolute["rest"] or "/"
            if target.startswith("?"):
                target = f"/{target}"
        if not target.startswith("/") or _FORBIDDEN.search(target) or _BAD_ESCAPE.search(target):
            raise InvalidTargetError("the target is not a valid path")
        path, _, query = target.partition("#")[0].partition("?")
        host = normal_authority(authority) if self.keyed_host else ""
        return CacheKey(host=host, path=normal_path(path), query=self.query.apply(_escapes(query)))


def normal_authority(authority: str) -> str:
    """Lower-case the host, drop a default port and a trailing dot; raises InvalidTargetError."""
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise InvalidTargetError("the host is not valid")
    host = found["host"].lower().removesuffix(".")
    port = found["port"] or ""
    return host if port in _DEFAULT_PORTS else f"{host}:{int(port)}"


def normal_path(path: str) -> str:
    """Decode what needs no escape, write other escapes in capitals, resolve dot segments.

    An escaped slash stays escaped: it does not separate segments, for no origin agrees on that.
    """
    segments = _escapes(path).split("/")[1:]
    kept: list[str] = []
    for segment in segments:
        if segment == "..":
            del kept[-1:]
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)


def _escapes(text: str) -> str:
    if "%" not in text:
        return text
    return _ESCAPE.sub(_normal_escape, text)


def _normal_escape(found: re.Match[str]) -> str:
    character = chr(int(found[1], 16))
    return character if character in _UNRESERVED else found[0].upper()


Match = Callable[[CacheKey], bool]


def prefix_match(prefix: CacheKey) -> Match:
    """Match every key of the same host whose path begins like the prefix's."""

    def matches(key: CacheKey) -> bool:
        return key.host == prefix.host and key.path.startswith(prefix.path)

    return matches
