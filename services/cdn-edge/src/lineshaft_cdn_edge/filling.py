"""One exchange with the origin on behalf of the cache, from the request to the stored entry."""

from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from multidict import CIMultiDict

from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.conditional import confirms, freshened
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, combined, end_to_end, without
from lineshaft_cdn_edge.flights import Confirmed, Flight, Flights, Unshared
from lineshaft_cdn_edge.forwarding import Forwarder
from lineshaft_cdn_edge.http_date import format_date, parse_date
from lineshaft_cdn_edge.keeping import Arriving, Keeper
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import Request
from lineshaft_cdn_edge.origin import Origin, OriginError, OriginResponse, OriginUnreachableError
from lineshaft_cdn_edge.policy import Policy, media_type
from lineshaft_cdn_edge.storing import NEVER_KEPT, Exchange, Judge, Refusal, Terms
from lineshaft_cdn_edge.vary import selecting_names, variant_key

_FAILURES = frozenset({500, 502, 503, 504})


class OriginFailedError(OriginError):
    """The origin answered with a server error while a stale response may stand in for it."""

    reason = "failed"


@dataclass(frozen=True, kw_only=True)
class Errand:
    """What a flight is sent for."""

    flight: Flight
    request: Request
    stale: Entry | None
    """The stored response to validate, which may also stand in if the origin fails."""


@dataclass(frozen=True, kw_only=True)
class _Arrival:
    """A response of the origin with the wall-clock times around it."""

    response: OriginResponse
    fields: Fields
    request_time: float
    response_time: float


class Filler:
    """Carries out errands and stores what they bring."""

    def __init__(
        self,
        *,
        origin: Origin,
        store: MemoryStore,
        flights: Flights,
        forwarder: Forwarder,
        policy: Policy,
        clock: Clock,
        keeper: Keeper,
    ) -> None:
        self._origin = origin
        self._store = store
        self._flights = flights
        self._forwarder = forwarder
        self._policy = policy
        self._judge = Judge(policy)
        self._clock = clock
        self._visitors_own = frozenset[str]() if policy.store_set_cookie else {"set-cookie"}
        self._keeper = keeper

    async def run(self, errand: Errand) -> None:
        """Ask the origin, land the outcome, then read the body to its end."""
        flight = errand.flight
        try:
            await self._run(errand)
        except OriginError as error:
            flight.outcome.set_exception(error)
            flight.outcome.exception()
        finally:
            self._flights.finish(flight)
            if not flight.outcome.done():
                flight.outcome.set_exception(OriginUnreachableError())
                flight.outcome.exception()

    async def _run(self, errand: Errand) -> None:
        arrival = await self._ask(errand, errand.stale)
        stale = errand.stale
        if arrival.response.status == 304 and stale:
            await arrival.response.body.close()
            confirmed = self._confirm(errand, stale, arrival)
            if confirmed:
                withheld = _only(arrival.fields, self._visitors_own)
                outcome = Confirmed(entry=confirmed, withheld=withheld)
                errand.flight.outcome.set_result(outcome)
                return
            arrival = await self._ask(errand, None)
        if (
            arrival.response.status in _FAILURES
            and stale
            and stale.serves_on_error(self._clock.monotonic())
        ):
            await arrival.response.body.close()
            raise OriginFailedError
        await self._receive(errand, arrival)

    async def _ask(self, errand: Errand, stale: Entry | None) -> _Arrival:
        request = self._forwarder.cacheable(errand.request, errand.flight.key, stale)
        request_time = self._clock.wall()
        response = await self._origin.fetch(request)
        response_time = self._clock.wall()
        fields = end_to_end(response.fields)
        if parse_date(fields.get("date"), now=response_time) is None:
            fields["Date"] = format_date(response_time)
        return _Arrival(
            response=response,
            fields=fields,
            request_time=request_time,
            response_time=response_time,
        )

    def _confirm(self, errand: Errand, stale: Entry, arrival: _Arrival) -> Entry | None:
        """Make the stored response as a 304 leaves it; None when the 304 is about another one."""
        if not confirms(stale.fields, arrival.fields):
            self._store.drop(stale)
            return None
        fields = freshened(stale.fields, without(arrival.fields, self._visitors_own))
        for age in arrival.fields.getall("age", []):
            fields.add("Age", age)
        terms = self._terms(errand, stale.status, fields, arrival)
        if isinstance(terms, Refusal):
            if terms.is_lasting:
                self._store.drop(stale)
            return replace(stale, fields=without(fields, {"age"}))
        entry = replace(
            self._entry(errand, stale.status, stale.reason, fields, terms),
            body=stale.body,
            encodings=stale.encodings,
            is_negotiated=stale.is_negotiated,
            variant=stale.variant,
        )
        if not errand.flight.is_doomed:
            self._store.replace(stale, entry)
        return entry

    async def _receive(self, errand: Errand, arrival: _Arrival) -> None:
        response, flight = arrival.response, errand.flight
        terms = self._terms(errand, response.status, arrival.fields, arrival)
        too_long = (response.length or 0) > self._store.object_bytes_max
        if not response.is_framed:
            terms = Refusal(reason="the end of the body is not certain")
        elif too_long:
            terms = Refusal(reason="too long")
        if isinstance(terms, Refusal):
            self._refuse(errand, terms, response.status)
            self._flights.close_doors(flight)
            if flight.is_abandoned:
                await response.body.close()
            flight.outcome.set_result(
                Unshared(response=response, fields=arrival.fields, reason=terms.reason)
            )
            return
        entry = self._entry(errand, response.status, response.reason, arrival.fields, terms)
        if not entry.collapses:
            self._flights.close_doors(flight)
        withheld = _only(arrival.fields, terms.dropped - NEVER_KEPT)
        await self._keeper.read(
            Arriving(
                flight=flight,
                request=errand.request,
                response=response,
                entry=entry,
                withheld=withheld,
                has_age="age" in arrival.fields,
            )
        )

    def _terms(
        self, errand: Errand, status: int, fields: Fields, arrival: _Arrival
    ) -> Terms | Refusal:
        request, key = errand.request, errand.flight.key
        return self._judge.judge(
            Exchange(
                path=key.path,
                request=request.fields,
                forwarded_cookie=self._forwarder.forwards_cookie(request, key),
                status=status,
                response=fields,
                request_time=arrival.request_time,
                response_time=arrival.response_time,
            )
        )

    def _refuse(self, errand: Errand, refusal: Refusal, status: int) -> None:
        """Remember that the resource cannot be stored; a failing origin says nothing about it."""
        failing = status >= 500
        if not refusal.is_lasting or failing or errand.flight.is_doomed:
            return
        until = self._clock.monotonic() + self._policy.hit_for_miss_seconds
        self._store.mark_uncacheable(errand.flight.key, until=until)
        if errand.stale:
            self._store.drop(errand.stale)

    def _entry(
        self, errand: Errand, status: int, reason: str, fields: Fields, terms: Terms
    ) -> Entry:
        kept = without(fields, terms.dropped)
        kind = media_type(kept.get("content-type"))
        names = selecting_names(kept) or frozenset()
        return Entry(
            key=errand.flight.key,
            variant=variant_key(names, errand.request.fields),
            status=status,
            reason=reason,
            fields=kept,
            body=b"",
            arrived_at=self._clock.monotonic(),
            initial_age=terms.initial_age,
            lifetime=terms.lifetime,
            validates_always=terms.validates_always,
            stale=terms.stale,
            asset_class=self._policy.class_name(errand.flight.key.path, kind),
            is_negotiated=not terms.no_transform
            and "content-encoding" not in kept
            and self._is_compressible(kind, combined(fields, "content-length")),
            granted_control=terms.grant.cache_control if terms.grant else "",
        )

    def _is_compressible(self, kind: str, length: str | None) -> bool:
        """By the announced length; without one the body counts as long enough."""
        rule = self._policy.compression
        return rule.applies(kind, int(length) if length and length.isdigit() else rule.bytes_min)


def _only(fields: Fields, names: AbstractSet[str]) -> Fields:
    return CIMultiDict(item for item in fields.items() if item[0].lower() in names)
