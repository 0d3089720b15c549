"""What to do with a request, given what is stored (RFC 9111 sections 4 and 5.2.1)."""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from lineshaft_cdn_edge.directives import parse_cache_control
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, members


class Action(StrEnum):
    """The ways to answer."""

    SERVE = "serve"
    REFRESH = "refresh"
    """Serve what is stored although stale, and validate it in the background."""
    FORWARD = "forward"
    """Ask the origin, conditionally where that is possible."""
    REFUSE = "refuse"
    """only-if-cached, and nothing fit to serve."""


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """The directives of a request that say which stored responses it takes."""

    no_cache: bool = False
    no_store: bool = False
    only_if_cached: bool = False
    max_age: float = inf
    min_fresh: float = 0.0
    max_stale: float = 0.0

    @classmethod
    def of(cls, request: Fields) -> "Wishes":
        """Read Cache-Control, or Pragma in its absence; unreadable times are not wishes."""
        lines = request.getall("cache-control", [])
        if not lines:
            pragma = [member.lower() for member in members(request.getall("pragma", []))]
            return cls(no_cache="no-cache" in pragma)
        directives = parse_cache_control(lines)
        max_age = directives.seconds("max-age")
        max_stale: float = directives.seconds("max-stale") or 0
        if directives.is_bare("max-stale"):
            max_stale = inf
        return cls(
            no_cache="no-cache" in directives or max_age == 0,
            no_store="no-store" in directives,
            only_if_cached="only-if-cached" in directives,
            max_age=inf if max_age is None else max_age,
            min_fresh=directives.seconds("min-fresh") or 0,
            max_stale=max_stale,
        )


def decide(entry: Entry | None, wishes: Wishes, now: float) -> Action:
    """Choose an action for a request that `entry` matches; `now` is monotonic."""
    if entry is not None:
        action = _reuse(entry, wishes, now)
        if action is not None:
            return action
    return Action.REFUSE if wishes.only_if_cached else Action.FORWARD


def _reuse(entry: Entry, wishes: Wishes, now: float) -> Action | None:
    if entry.validates_always or wishes.no_cache or wishes.no_store:
        return None
    if entry.age(now) > wishes.max_age:
        return None
    fresh_seconds = entry.fresh_seconds(now)
    if fresh_seconds > 0:
        return Action.SERVE if fresh_seconds >= wishes.min_fresh else None
    if not entry.stale.forbidden and -fresh_seconds <= wishes.max_stale and wishes.max_stale > 0:
        return Action.SERVE
    if wishes.min_fresh == 0 and entry.serves_while_revalidating(now):
        return Action.REFRESH if -fresh_seconds < entry.stale.while_revalidating else None
    return None
