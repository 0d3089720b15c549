"""An origin that is counted."""

from collections.abc import AsyncIterator

from lineshaft_cdn_edge.messages import Body
from lineshaft_cdn_edge.origin import Origin, OriginError, OriginRequest, OriginResponse
from lineshaft_cdn_edge.policy import Policy, media_type
from lineshaft_cdn_edge.traffic import Traffic


class MeteredOrigin:
    """Counts requests, failures and body bytes by asset class, and changes nothing else."""

    def __init__(self, origin: Origin, traffic: Traffic, policy: Policy) -> None:
        self._origin = origin
        self._traffic = traffic
        self._policy = policy

    async def fetch(self, request: OriginRequest) -> OriginResponse:
        """Fetch and count; raises OriginError."""
        self._traffic.asked_origin()
        try:
            response = await self._origin.fetch(request)
        except OriginError as error:
            self._traffic.origin_failed(error.reason)
            raise
        self._traffic.origin_answered()
        kind = media_type(response.fields.get("content-type"))
        asset_class = self._policy.class_name(request.target.partition("?")[0], kind)
        return _Metered(response, self._traffic, asset_class)


class _Metered:
    def __init__(self, response: OriginResponse, traffic: Traffic, asset_class: str) -> None:
        self.status = response.status
        self.reason = response.reason
        self.fields = response.fields
        self.length = response.length
        self.is_framed = response.is_framed
        self.pass_through = response.pass_through
        self.body: Body = _MeteredBody(response.body, traffic, asset_class)


class _MeteredBody:
    def __init__(self, body: Body, traffic: Traffic, asset_class: str) -> None:
        self._body = body
        self._traffic = traffic
        self._asset_class = asset_class

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._body:
                self._traffic.received(self._asset_class, len(chunk))
                yield chunk
        except OriginError as error:
            self._traffic.origin_failed(error.reason)
            raise

    async def close(self) -> None:
        await self._body.close()
