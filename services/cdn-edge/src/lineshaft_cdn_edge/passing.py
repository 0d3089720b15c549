"""Requests that go through to the origin without being stored, and what they invalidate."""

from dataclasses import replace
from urllib.parse import urljoin, urlsplit

from lineshaft_cdn_edge.answers import Answers
from lineshaft_cdn_edge.cache_key import CacheKey, InvalidTargetError, KeyMaker, normal_authority
from lineshaft_cdn_edge.clock import Clock
from lineshaft_cdn_edge.conditional import freshened
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, combined, end_to_end, without
from lineshaft_cdn_edge.forwarding import Forwarder
from lineshaft_cdn_edge.http_date import format_date
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.messages import SAFE_METHODS, Request, Response, Result
from lineshaft_cdn_edge.origin import Origin, OriginResponse
from lineshaft_cdn_edge.policy import Policy, media_type
from lineshaft_cdn_edge.purge import Purger
from lineshaft_cdn_edge.storing import Exchange, Judge, Refusal

_NO_BODY = frozenset({204, 304})


class Passer:
    """Passes requests through; what a successful unsafe one changed is dropped from the store."""

    def __init__(
        self,
        *,
        origin: Origin,
        store: MemoryStore,
        forwarder: Forwarder,
        keys: KeyMaker,
        purger: Purger,
        policy: Policy,
        answers: Answers,
        clock: Clock,
    ) -> None:
        self._origin = origin
        self._store = store
        self._forwarder = forwarder
        self._keys = keys
        self._purger = purger
        self._policy = policy
        self._judge = Judge(policy)
        self._answers = answers
        self._clock = clock

    async def handle(self, request: Request, key: CacheKey, *, detail: str) -> Response:
        """Forward a request as it is; raises OriginError."""
        began = self._clock.wall()
        response = await self._origin.fetch(self._forwarder.as_is(request, key))
        fields = end_to_end(response.fields)
        if "date" not in fields:
            fields["Date"] = format_date(self._clock.wall())
        if request.method not in SAFE_METHODS and 200 <= response.status < 400:
            self._invalidate(request, key, fields)
        elif request.method == "HEAD":
            self._update(request, key, response, fields, began)
        return self.answer(request, key, response, fields, detail=detail)

    def answer(
        self,
        request: Request,
        key: CacheKey,
        response: OriginResponse,
        fields: Fields,
        *,
        detail: str,
        unchanged: bool = False,
    ) -> Response:
        """Stream an origin response to the one client it is for, or tell it that it has it."""
        kind = media_type(fields.get("content-type"))
        upstream = combined(fields, "cache-status")
        fields = without(fields, {"cache-status", "surrogate-control"})
        fields["Cache-Status"] = self._answers.status_line(
            (f"fwd={detail}", f"fwd-status={response.status}"), upstream
        )
        has_length = request.method == "HEAD" or response.status not in _NO_BODY
        return Response(
            status=304 if unchanged else response.status,
            reason="" if unchanged else response.reason,
            fields=fields,
            body=b"" if unchanged else response.body,
            length=None if unchanged or not has_length else response.length,
            result=Result.BYPASS,
            asset_class=self._policy.class_name(key.path, kind),
        )

    def _invalidate(self, request: Request, key: CacheKey, fields: Fields) -> None:
        """Drop the target, and Location and Content-Location if on the same host (section 4.4)."""
        self._purger.drop(key)
        for name in ("location", "content-location"):
            reference = fields.get(name)
            if reference and len(reference) <= 8_192:
                other = self._same_host(request, key, reference)
                if other:
                    self._purger.drop(other)

    def _same_host(self, request: Request, key: CacheKey, reference: str) -> CacheKey | None:
        """Resolve a reference; one to another host is none of this request's business."""
        try:
            mine = normal_authority(request.authority or "origin.invalid")
            there = urlsplit(urljoin(f"http://{mine}{key.path}", reference.strip()))
            if normal_authority(there.netloc) != mine:
                return None
            return self._keys.key(there._replace(scheme="", netloc="").geturl(), mine)
        except (InvalidTargetError, ValueError):
            return None

    def _update(
        self,
        request: Request,
        key: CacheKey,
        response: OriginResponse,
        fields: Fields,
        began: float,
    ) -> None:
        """Freshen what a GET stored by a HEAD, or mark it stale if it changed (section 4.3.5)."""
        stored = self._store.find(key, request.fields)
        if stored is None or response.status != 200 or stored.status != 200:
            return
        if _differs(stored, fields):
            self._store.replace(stored, stored.expired(self._clock.monotonic()))
            return
        news = freshened(stored.fields, fields)
        terms = self._judge.judge(
            Exchange(
                path=key.path,
                request=request.fields,
                forwarded_cookie=self._forwarder.forwards_cookie(request, key),
                status=200,
                response=news,
                request_time=began,
                response_time=self._clock.wall(),
            )
        )
        if isinstance(terms, Refusal):
            return
        self._store.replace(
            stored,
            replace(
                stored,
                fields=without(news, terms.dropped),
                arrived_at=self._clock.monotonic(),
                initial_age=terms.initial_age,
                lifetime=terms.lifetime,
                validates_always=terms.validates_always,
                stale=terms.stale,
            ),
        )


def _differs(stored: Entry, head: Fields) -> bool:
    for name in ("etag", "last-modified"):
        if name in head and head[name] != stored.fields.get(name):
            return True
    length = head.get("content-length")
    return length is not None and length != str(len(stored.body))
