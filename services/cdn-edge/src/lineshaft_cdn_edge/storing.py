"""May a response be stored and reused, and under which rules (RFC 9111 section 3)."""

from dataclasses import dataclass

from lineshaft_cdn_edge.directives import (
    Directives,
    parse_cache_control,
    parse_surrogate_control,
    parse_targeted,
)
from lineshaft_cdn_edge.entry import StaleRules
from lineshaft_cdn_edge.fields import Fields
from lineshaft_cdn_edge.freshness import (
    HEURISTIC_STATUSES,
    Basis,
    Lifetime,
    age_value,
    explicit_lifetime,
    heuristic_lifetime,
    initial_age,
)
from lineshaft_cdn_edge.http_date import parse_date
from lineshaft_cdn_edge.policy import Grant, Policy, media_type
from lineshaft_cdn_edge.vary import selecting_names

SURROGATE = "lineshaft"
"""How this cache calls itself in Via, Cache-Status and Surrogate-Capability."""

_NEVER_STORED = frozenset({206, 304})
_UNDERSTOOD = frozenset(
    {200, 203, 204, 300, 301, 302, 303, 307, 308, *range(400, 418), 421, 422, 426, 428, 429, 431}
    | {451, *range(500, 506)}
)
NEVER_KEPT = frozenset({"age", "surrogate-control", "cache-status"})


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A request that went to the origin and the head of what came back; wall-clock times."""

    path: str
    request: Fields
    """The client's fields, not those sent on."""
    forwarded_cookie: bool
    status: int
    response: Fields
    """Without hop-by-hop fields."""
    request_time: float
    response_time: float


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a response is not stored."""

    reason: str
    is_lasting: bool = True
    """Whether it lies in the resource rather than in this one request or moment."""


@dataclass(frozen=True, kw_only=True)
class Terms:
    """Under which rules a response is stored."""

    lifetime: Lifetime
    initial_age: float
    validates_always: bool
    stale: StaleRules
    dropped: frozenset[str]
    """Lower-case names of fields that are not stored."""
    grant: Grant | None
    no_transform: bool


class Judge:
    """Decides on storing, by the origin's word first and the operator's policy after."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def judge(self, exchange: Exchange) -> Terms | Refusal:
        """Return the terms of storing the response, or the refusal."""
        directives, targeted = _governing(exchange.response)
        refusal = self._forbidden(exchange, directives)
        if refusal:
            return refusal
        date = parse_date(exchange.response.get("date"), now=exchange.response_time)
        lifetime, grant = self._lifetime(
            exchange, directives, targeted=targeted, date=date or exchange.response_time
        )
        if lifetime is None:
            return Refusal(reason="no freshness and no validator")
        age = initial_age(
            age_seconds=age_value(
                exchange.response.getall("age", []),
                invalid_is_stale=self._policy.invalid_age == "stale",
            ),
            date=date,
            request_time=exchange.request_time,
            response_time=exchange.response_time,
        )
        validates_always = directives.is_bare("no-cache")
        has_validator = "etag" in exchange.response or "last-modified" in exchange.response
        stale = self._stale_rules(directives, grant)
        if not has_validator and (validates_always or lifetime.seconds <= age):
            return Refusal(reason="stale at once")
        return Terms(
            lifetime=lifetime,
            initial_age=age,
            validates_always=validates_always,
            stale=stale,
            dropped=NEVER_KEPT
            | directives.field_names("no-cache")
            | directives.field_names("private"),
            grant=grant,
            no_transform="no-transform"
            in parse_cache_control(exchange.response.getall("cache-control", [])),
        )

    def _forbidden(self, exchange: Exchange, directives: Directives) -> Refusal | None:
        """Say what stands against storing it: what lies in the resource before the rest."""
        status, response = exchange.status, exchange.response
        understands = "must-understand" in directives
        lasting = (
            # Interim responses have no body, parts no end.
            (status < 200 or status in _NEVER_STORED, "not a complete response"),
            (understands and status not in _UNDERSTOOD, "the status is not understood"),
            (not understands and "no-store" in directives, "no-store"),
            (directives.is_bare("private"), "private"),
            (selecting_names(response) is None, "varies on everything"),
            (self._hands_out_cookie(response, directives), "sets a cookie"),
        )
        for applies, reason in lasting:
            if applies:
                return Refusal(reason=reason)
        if "no-store" in parse_cache_control(exchange.request.getall("cache-control", [])):
            return Refusal(reason="the request asked for no-store", is_lasting=False)
        if "authorization" in exchange.request and not _allows_authorized(directives):
            return Refusal(reason="authorized", is_lasting=False)
        if self._is_for_one_visitor(exchange, directives):
            return Refusal(reason="made for credentials", is_lasting=False)
        return None

    def _is_for_one_visitor(self, exchange: Exchange, directives: Directives) -> bool:
        """Whether credentials were sent and the origin does not say that it ignored them.

        The word of the origin has to be a lifetime for shared use. That is about this request:
        visitors must not be able to keep a resource out of the store for the others.
        """
        if not self._policy.carries_credentials(exchange.request):
            return False
        has_lifetime = any(
            directives.seconds(name) is not None for name in ("s-maxage", "max-age")
        )
        return not (has_lifetime and _allows_authorized(directives))

    def _hands_out_cookie(self, response: Fields, directives: Directives) -> bool:
        if self._policy.store_set_cookie or "set-cookie" not in response:
            return False
        kept_out = directives.field_names("no-cache") | directives.field_names("private")
        return "set-cookie" not in kept_out

    def _lifetime(
        self, exchange: Exchange, directives: Directives, *, targeted: bool, date: float
    ) -> tuple[Lifetime | None, Grant | None]:
        response, now = exchange.response, exchange.response_time
        seconds = explicit_lifetime(directives, response, date=date, now=now, targeted=targeted)
        if seconds is not None:
            return Lifetime(seconds=seconds, basis=Basis.EXPLICIT), None
        if directives.is_bare("no-cache") or exchange.forwarded_cookie:
            # Only a validated use is left: nobody said that it is the same for every visitor.
            reusable = exchange.status in HEURISTIC_STATUSES and not exchange.forwarded_cookie
            return (Lifetime(seconds=0, basis=Basis.EXPLICIT) if reusable else None), None
        if exchange.status == 200:
            grant = self._policy.grant(exchange.path, media_type(response.get("content-type")))
            if grant:
                return Lifetime(seconds=grant.seconds, basis=Basis.POLICY), grant
        negative = self._policy.negative_seconds.get(exchange.status)
        if negative is not None and "authorization" not in exchange.request:
            return Lifetime(seconds=negative, basis=Basis.POLICY), None
        if exchange.status not in HEURISTIC_STATUSES and "public" not in directives:
            return None, None
        rule = self._policy.heuristic
        seconds = heuristic_lifetime(
            response, date=date, now=now, fraction=rule.fraction, seconds_max=rule.seconds_max
        )
        return Lifetime(seconds=seconds, basis=Basis.HEURISTIC), None

    def _stale_rules(self, directives: Directives, grant: Grant | None) -> StaleRules:
        """Read them; a given stale-... beats the proxy-revalidate that s-maxage only implies."""
        forbidden = "must-revalidate" in directives or "proxy-revalidate" in directives
        granted = grant.stale_while_revalidate_seconds if grant else 0.0
        grace = 0.0 if "s-maxage" in directives else self._policy.grace_seconds
        while_revalidating = directives.seconds("stale-while-revalidate")
        if_error = directives.seconds("stale-if-error")
        return StaleRules(
            forbidden=forbidden or directives.is_bare("no-cache"),
            while_revalidating=granted if while_revalidating is None else while_revalidating,
            if_error=grace if if_error is None else if_error,
        )


def _governing(response: Fields) -> tuple[Directives, bool]:
    """Return the directives that count here, and whether they were aimed at caches like this."""
    targeted = parse_targeted(response.getall("cdn-cache-control", []))
    if targeted:
        return targeted, True
    surrogate = parse_surrogate_control(response.getall("surrogate-control", []), name=SURROGATE)
    if surrogate:
        return surrogate, True
    return parse_cache_control(response.getall("cache-control", [])), False


def _allows_authorized(directives: Directives) -> bool:
    return any(name in directives for name in ("public", "s-maxage", "must-revalidate"))
