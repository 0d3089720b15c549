"""From a request to its response: look, decide, fetch if need be, answer."""

from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from lineshaft_contracts.problems import Problem

from lineshaft_cdn_edge.answers import Answers, Course
from lineshaft_cdn_edge.cache_key import CacheKey, InvalidTargetError, KeyMaker
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.compression import Compressor
from lineshaft_cdn_edge.decisions import Action, Wishes, decide
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fetching import Fetcher, Visit
from lineshaft_cdn_edge.filling import Filler
from lineshaft_cdn_edge.flights import Flights, TooManyWaitersError
from lineshaft_cdn_edge.forwarding import Forwarder
from lineshaft_cdn_edge.keeping import Keeper
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import Request, Response, Result
from lineshaft_cdn_edge.origin import Origin, OriginError
from lineshaft_cdn_edge.passing import Passer
from lineshaft_cdn_edge.policy import Policy
from lineshaft_cdn_edge.purge import Purger

_REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
_PASSED_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one edge."""

    waiters_max: int = 20_000
    """Requests that wait for one response at the same time."""
    wait_timeout_seconds: float = 60.0
    target_bytes_max: int = 8_192


class Edge:
    """A shared HTTP cache in front of one origin."""

    def __init__(
        self,
        *,
        region: str,
        origin: Origin,
        policy: Policy,
        store: MemoryStore,
        clock: Clock,
        limits: Limits | None = None,
        keyed_host: bool = False,
    ) -> None:
        self._limits = limits or Limits()
        self._policy = policy
        self._store = store
        self._clock = clock
        self._keys = KeyMaker(keyed_host=keyed_host, query=policy.query_rule)
        self._compressor = Compressor(store.attach)
        self._answers = Answers(region=region, clock=clock)
        flights = Flights(waiters_max=self._limits.waiters_max)
        forwarder = Forwarder(policy)
        self.purger = Purger(store=store, flights=flights, keys=self._keys, clock=clock)
        self._passer = Passer(
            origin=origin,
            store=store,
            forwarder=forwarder,
            keys=self._keys,
            purger=self.purger,
            policy=policy,
            answers=self._answers,
            clock=clock,
        )
        self._fetcher = self._make_fetcher(origin, flights, forwarder)

    def _make_fetcher(self, origin: Origin, flights: Flights, forwarder: Forwarder) -> Fetcher:
        policy, store, clock = self._policy, self._store, self._clock
        keeper = Keeper(
            store=store, flights=flights, compressor=self._compressor, policy=policy, clock=clock
        )
        filler = Filler(
            origin=origin,
            store=store,
            flights=flights,
            forwarder=forwarder,
            policy=policy,
            clock=clock,
            keeper=keeper,
        )
        return Fetcher(
            filler=filler,
            flights=flights,
            store=store,
            passer=self._passer,
            answers=self._answers,
            policy=policy,
            clock=clock,
            wait_timeout_seconds=self._limits.wait_timeout_seconds,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._fetcher.close()
        await self._compressor.close()

    async def idle(self) -> None:
        """Wait until nothing goes on in the background any more."""
        await self._fetcher.idle()
        await self._compressor.idle()

    async def handle(self, request: Request) -> Response:
        """Answer a request; a streamed body has to be read to its end or closed."""
        refusal = self._refusal(request)
        if refusal:
            return refusal
        try:
            key = self._keys.key(request.target, request.authority)
        except InvalidTargetError as error:
            return self._problem(400, "invalid_target", str(error))
        try:
            return await self._handle(request, key)
        except TooManyWaitersError:
            return self._problem(503, "overloaded", "Too many wait for this", retry_after=1)
        except TimeoutError:
            return self._problem(504, "wait_timeout", "The response took too long")
        except OriginError as error:
            return self._failed(error, key)

    def _refusal(self, request: Request) -> Response | None:
        if len(request.target) > self._limits.target_bytes_max:
            return self._problem(414, "target_too_long", "The request target is too long")
        served = self._policy.methods
        if request.method in _REFUSED_METHODS or (served and request.method not in served):
            refusal = self._problem(405, "method_not_allowed", "The method is not served here")
            refusal.fields["Allow"] = ", ".join(served or _PASSED_METHODS)
            return refusal
        return None

    async def _handle(self, request: Request, key: CacheKey) -> Response:
        passed = _passes(request)
        if passed:
            return await self._passer.handle(request, key, detail=passed)
        visit = Visit(
            request=request,
            key=key,
            wishes=Wishes.of(request.fields),
            entry=self._store.find(key, request.fields),
        )
        action = decide(visit.entry, visit.wishes, self._clock.monotonic())
        if action is Action.REFUSE:
            return self._problem(504, "only_if_cached", "Nothing fit is stored")
        if visit.entry and action in {Action.SERVE, Action.REFRESH}:
            if action is Action.REFRESH:
                self._fetcher.refresh(visit)
            return self._serve(request, visit.entry)
        try:
            return await self._forward(visit)
        except (OriginError, TimeoutError):
            if visit.entry and self._may_stand_in(visit.entry, visit.wishes):
                return self._serve(request, visit.entry, "detail=stale-if-error")
            raise

    async def _forward(self, visit: Visit) -> Response:
        """Ask the origin: for the one client where only they can use it, else for all."""
        request = visit.request
        pointless = not visit.entry and self._store.is_uncacheable(
            visit.key, self._clock.monotonic()
        )
        if request.method == "HEAD" or (pointless and _is_partial_or_conditional(request)):
            return await self._passer.handle(request, visit.key, detail=self._why(visit))
        return await self._fetcher.fetch(replace(visit, why=self._why(visit)))

    def _why(self, visit: Visit) -> str:
        """Name the reason for asking the origin, in the words of RFC 9211."""
        if visit.entry is None:
            return "vary-miss" if self._store.has(visit.key) else "uri-miss"
        fresh = visit.entry.fresh_seconds(self._clock.monotonic()) > 0
        return "request" if fresh and not visit.entry.validates_always else "stale"

    def _serve(self, request: Request, entry: Entry, *details: str) -> Response:
        fresh = entry.fresh_seconds(self._clock.monotonic()) > 0
        course = Course(result=Result.HIT if fresh else Result.STALE, parameters=details)
        return self._answers.from_entry(request, entry, course)

    def _may_stand_in(self, entry: Entry, wishes: Wishes) -> bool:
        """Whether a stale response may take the place of the origin's failure."""
        wanted = not wishes.no_cache and not wishes.no_store
        return wanted and entry.serves_on_error(self._clock.monotonic())

    def _failed(self, error: OriginError, key: CacheKey) -> Response:
        busy = error.status == 503
        return self._answers.problem(
            Problem(
                code=f"origin_{error.reason}",
                title="The origin gave no usable answer",
                status=error.status,
                retry_after_seconds=1 if busy else None,
            ),
            detail=f"origin-{error.reason}",
            asset_class=self._policy.class_name(key.path, ""),
        )

    def _problem(
        self, status: int, code: str, title: str, *, retry_after: float | None = None
    ) -> Response:
        problem = Problem(code=code, title=title, status=status, retry_after_seconds=retry_after)
        return self._answers.problem(problem, detail=code.replace("_", "-"))


def _passes(request: Request) -> str | None:
    """Why a request goes past the cache: RFC 9211's word, or None when it does not."""
    if request.method not in {"GET", "HEAD"}:
        return "method"
    if request.body is not None:
        # A body is no part of the key: what it asks for must not be given to anybody else.
        return "bypass"
    if "if-match" in request.fields or "if-unmodified-since" in request.fields:
        return "request"
    return None


def _is_partial_or_conditional(request: Request) -> bool:
    return any(name in request.fields for name in ("range", "if-none-match", "if-modified-since"))
