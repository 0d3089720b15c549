"""The request that goes to the origin in place of a client's."""

from lineshaft_cdn_edge.cache_key import CacheKey
from lineshaft_cdn_edge.conditional import CONDITIONS, conditions_for
from lineshaft_cdn_edge.entry import Entry
from lineshaft_cdn_edge.fields import Fields, combined, end_to_end, without
from lineshaft_cdn_edge.messages import Request
from lineshaft_cdn_edge.origin import OriginRequest
from lineshaft_cdn_edge.policy import Policy
from lineshaft_cdn_edge.storing import SURROGATE

_MADE_HERE = frozenset({"host", "content-length", "expect", "surrogate-capability"})
_ABOUT_PARTS = frozenset({"range", "if-range"})


class Forwarder:
    """Makes origin requests, from the key wherever the answer may be stored.

    The origin is asked for the plain form of a body: compression is the edge's work, so one
    stored response answers every client whatever codings it accepts.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._unwanted = _MADE_HERE | {name.lower() for name in policy.strip_request_fields}

    def cacheable(self, request: Request, key: CacheKey, stale: Entry | None) -> OriginRequest:
        """Ask for the whole response, on condition that it is not the stale one's.

        The client's own conditions and ranges are left out: they are met from what comes back.
        """
        fields = self._fields(request, CONDITIONS | _ABOUT_PARTS)
        if self._policy.keeps_cookies_back(key.path):
            fields = without(fields, {"cookie"})
        fields["Accept-Encoding"] = "identity"
        for name, value in conditions_for(stale.fields) if stale else ():
            fields.add(name, value)
        return OriginRequest(
            method="GET",
            target=key.target,
            host=key.host,
            fields=fields,
            client=request.client,
            fills=True,
        )

    def as_is(self, request: Request, key: CacheKey) -> OriginRequest:
        """Pass a request through whose response will not be stored."""
        fields = self._fields(request, frozenset())
        if request.body is not None and "content-length" in request.fields:
            fields["Content-Length"] = request.fields["content-length"]
        return OriginRequest(
            method=request.method,
            target=key.target,
            host=key.host,
            fields=fields,
            body=request.body,
            client=request.client,
        )

    def forwards_cookie(self, request: Request, key: CacheKey) -> bool:
        """Whether the response may depend on the visitor's cookies."""
        return "cookie" in request.fields and not self._policy.keeps_cookies_back(key.path)

    def _fields(self, request: Request, dropped: frozenset[str]) -> Fields:
        fields = without(end_to_end(request.fields), self._unwanted | dropped)
        via = combined(fields, "via")
        fields["Via"] = f"{via}, 1.1 {SURROGATE}" if via else f"1.1 {SURROGATE}"
        fields["Surrogate-Capability"] = f'{SURROGATE}="Surrogate/1.0"'
        return fields
