"""Ask the origin once for all who want the same (collapsed forwarding), then answer each."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any

from lineshaft_cdn_edge.answers import Answers, Course
from lineshaft_cdn_edge.broadcast import Reader
from lineshaft_cdn_edge.cache_key import CacheKey
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.conditional import is_not_modified
from lineshaft_cdn_edge.decisions import Wishes
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import combined
from lineshaft_cdn_edge.filling import Errand, Filler
from lineshaft_cdn_edge.flights import Confirmed, Flight, Flights, Incoming, Outcome, Unshared
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import Request, Response, Result
from lineshaft_cdn_edge.passing import Passer
from lineshaft_cdn_edge.policy import Policy
from lineshaft_cdn_edge.vary import VariantKey, accepted_codings, selecting_names, variant_key

_JOINS_MAX = 3


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A request that the cache may answer, with what is known about it."""

    request: Request
    key: CacheKey
    wishes: Wishes
    entry: Entry | None
    """The stored response that matches the request, whatever its age."""
    why: str = ""
    """The reason for asking the origin, in the words of RFC 9211."""


class Fetcher:
    """Leads or joins flights for visits that the store cannot answer."""

    def __init__(
        self,
        *,
        filler: Filler,
        flights: Flights,
        store: MemoryStore,
        passer: Passer,
        answers: Answers,
        policy: Policy,
        clock: Clock,
        wait_timeout_seconds: float,
    ) -> None:
        self._filler = filler
        self._flights = flights
        self._store = store
        self._passer = passer
        self._answers = answers
        self._policy = policy
        self._clock = clock
        self._wait_timeout_seconds = wait_timeout_seconds
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Give up what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def idle(self) -> None:
        """Wait until nothing is under way."""
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def refresh(self, visit: Visit) -> None:
        """Validate a stale response in the background, unless that is being done already."""
        selector = self._selector(visit, frozenset())
        if not self._flights.is_under_way(visit.key, selector):
            self._launch(visit, selector, is_joinable=True, leads=False)

    async def fetch(self, visit: Visit) -> Response:
        """Lead a flight, or join one; whether it may be shared shows when it lands.

        Raises OriginError, TimeoutError or TooManyWaitersError.
        """
        names: frozenset[str] = frozenset()
        alone = self._goes_alone(visit)
        for _ in range(_JOINS_MAX):
            selector = self._selector(visit, names)
            flight = None if alone else self._flights.find(visit.key, selector)
            if flight is None:
                return await self._lead(visit, selector, is_joinable=not alone)
            outcome = await self._wait(flight, leads=False)
            if self._shares(visit, outcome):
                return await self._answer(visit, outcome, leads=False)
            alone = not isinstance(outcome, Incoming) or not outcome.entry.collapses
            if isinstance(outcome, Incoming):
                names |= selecting_names(outcome.entry.fields) or frozenset()
        return await self._lead(visit, self._selector(visit, names), is_joinable=False)

    async def _lead(self, visit: Visit, selector: VariantKey, *, is_joinable: bool) -> Response:
        flight = self._launch(visit, selector, is_joinable=is_joinable, leads=True)
        return await self._answer(visit, await self._wait(flight, leads=True), leads=True)

    def _goes_alone(self, visit: Visit) -> bool:
        """Whether sharing is known to be pointless or forbidden for this request."""
        return (
            visit.wishes.no_store
            or "authorization" in visit.request.fields
            or self._policy.carries_credentials(visit.request.fields)
            or (visit.entry is not None and not visit.entry.collapses)
            or self._store.is_uncacheable(visit.key, self._clock.monotonic())
        )

    def _shares(self, visit: Visit, outcome: Outcome) -> bool:
        if isinstance(outcome, Unshared) or not outcome.entry.collapses:
            return False
        if isinstance(outcome, Incoming) and not outcome.body.is_joinable:
            return False
        names = frozenset(name for name, _ in outcome.entry.variant)
        return variant_key(names, visit.request.fields) == outcome.entry.variant

    async def _answer(self, visit: Visit, outcome: Outcome, *, leads: bool) -> Response:
        why = f"fwd={visit.why}"
        words = (why,) if leads else (why, "collapsed")
        if isinstance(outcome, Unshared):
            return await self._only_for(visit, outcome)
        if isinstance(outcome, Confirmed):
            course = Course(
                result=Result.REVALIDATED,
                parameters=(*words, "fwd-status=304"),
                shows_age=not leads,
            )
            response = self._answers.from_entry(visit.request, outcome.entry, course)
            if leads:
                response.fields.extend(outcome.withheld)
            return response
        course = Course(
            result=Result.MISS if leads else Result.HIT,
            parameters=(*words, f"fwd-status={outcome.entry.status}", "stored"),
            shows_age=outcome.has_age or not leads,
        )
        reader = outcome.lead if leads and outcome.lead else outcome.body.reader()
        response = await self._arriving(visit, outcome, reader, course)
        if leads:
            response.fields.extend(outcome.withheld)
        return response

    async def _only_for(self, visit: Visit, outcome: Unshared) -> Response:
        """Pass a response that is not stored on; the client's condition was not sent along.

        Where no more can pass through now, it is asked for again when it is this client's turn:
        meanwhile it must not take the place of a fill.
        """
        now = self._clock.wall()
        unchanged = outcome.response.status == 200 and is_not_modified(
            visit.request.fields, outcome.fields, now=now
        )
        if unchanged:
            await outcome.response.body.close()
        elif not await outcome.response.pass_through():
            await outcome.response.body.close()
            return await self._passer.handle(visit.request, visit.key, detail=visit.why)
        return self._passer.answer(
            visit.request,
            visit.key,
            outcome.response,
            outcome.fields,
            detail=visit.why,
            unchanged=unchanged,
        )

    async def _arriving(
        self, visit: Visit, incoming: Incoming, reader: Reader, course: Course
    ) -> Response:
        """Stream what arrives, or wait for the whole where only that makes the answer."""
        request = visit.request
        accepted = accepted_codings(combined(request.fields, "accept-encoding"))
        short = 0 < (incoming.length or 0) <= self._policy.compression.first_bytes_max
        compresses = incoming.entry.is_negotiated and short and bool(accepted)
        wants_part = "range" in request.fields
        conditional = "if-none-match" in request.fields or "if-modified-since" in request.fields
        if not (wants_part or compresses or conditional):
            return self._answers.from_incoming(request, incoming, reader, course)
        await reader.close()
        async with asyncio.timeout(self._wait_timeout_seconds):
            whole = await asyncio.shield(incoming.whole)
        if whole is None:
            return await self._passer.handle(request, visit.key, detail="uri-miss")
        return self._answers.from_entry(request, whole, course)

    def _launch(
        self, visit: Visit, selector: VariantKey, *, is_joinable: bool, leads: bool
    ) -> Flight:
        flight = self._flights.start(visit.key, selector, is_joinable=is_joinable)
        flight.is_abandoned = not leads
        errand = Errand(flight=flight, request=visit.request, stale=visit.entry)
        self._spawn(self._filler.run(errand))
        return flight

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _wait(self, flight: Flight, *, leads: bool) -> Outcome:
        return await self._flights.wait(
            flight,
            timeout_seconds=self._wait_timeout_seconds,
            on_abandon=self._abandon if leads else _let_go,
        )

    def _abandon(self, flight: Flight) -> None:
        """Whoever led is gone: what only they would have read is given up."""
        flight.is_abandoned = True
        if not flight.outcome.done() or flight.outcome.exception():
            return
        outcome = flight.outcome.result()
        if isinstance(outcome, Unshared):
            self._spawn(outcome.response.body.close())
        elif isinstance(outcome, Incoming) and outcome.lead:
            self._spawn(outcome.lead.close())

    def _selector(self, visit: Visit, names: frozenset[str]) -> VariantKey:
        known = names.union(*self._store.name_sets(visit.key))
        return variant_key(known, visit.request.fields)


def _let_go(flight: Flight) -> None:
    """Change nothing: a waiter that gives up does not matter to the others."""
