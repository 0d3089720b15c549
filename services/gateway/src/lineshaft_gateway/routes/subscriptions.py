"""`/api/subscriptions`: who gets which events, how far each is, and replay."""

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.problems import Problem
from lineshaft_contracts.subscriptions import (
    DeleteSubscription,
    GetSubscription,
    ListSubscriptions,
    ProtocolSettings,
    ReplayStart,
    ReplaySubscription,
    SetSubscription,
    SetSubscriptionState,
    Subscription,
    SubscriptionFound,
)

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.named import NAME, name_of
from lineshaft_gateway.routes.subscription_bodies import (
    PageQuery,
    ReplayBody,
    SubscriptionAnswer,
    SubscriptionBody,
    Subscriptions,
)

DEADLINE_SECONDS = 5.0
REPLAY_DEADLINE_SECONDS = 30.0
"""The place in the log is looked up first."""
PATH = "/api/subscriptions/{name}"
EXAMPLE = {
    "protocol": "HTTP",
    "sink": "https://mes.example.com/hooks/plant",
    "types": ["plant.production.unit-produced.v1"],
    "filters": [{"prefix": {"source": "/acme/north/"}}],
}


class SubscriptionRoutes:
    """Handlers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def list_page(self, call: Call) -> web.Response:
        """All subscriptions of the tenant."""
        question = ListSubscriptions(limit=call.query.limit, cursor=call.query.cursor)
        page = await self._bus.ask(question, tenant=call.principal.tenant, source=SOURCE)
        return json_answer(page)

    async def get(self, call: Call) -> web.Response:
        """One subscription."""
        question = GetSubscription(id=name_of(call, missing=NOT_FOUND))
        return _answer(await self._bus.ask(question, tenant=call.principal.tenant, source=SOURCE))

    async def put(self, call: Call) -> web.Response:
        """200 with the subscription as it is from now on."""
        body: SubscriptionBody = call.body
        plain = {name: getattr(body, name) for name in Subscription.model_fields}
        plain["protocolsettings"] = ProtocolSettings(**dict(body.protocolsettings))
        command = SetSubscription(
            id=name_of(call),
            subscription=Subscription(**plain),
            sinkcredential=body.sinkcredential,
            actor=call.principal.prefix,
        )
        return await self._order(call, command)

    async def delete(self, call: Call) -> web.Response:
        """204; its queue and its parked events are gone with it."""
        command = DeleteSubscription(
            id=name_of(call, missing=NOT_FOUND), actor=call.principal.prefix
        )
        await self._bus.ask(command, tenant=call.principal.tenant, source=SOURCE)
        return web.Response(status=204)

    async def pause(self, call: Call) -> web.Response:
        """Stop delivering; events wait in the log."""
        return await self._set_state(call, paused=True)

    async def resume(self, call: Call) -> web.Response:
        """Go on where it stopped."""
        return await self._set_state(call, paused=False)

    async def _set_state(self, call: Call, *, paused: bool) -> web.Response:
        id_ = name_of(call, missing=NOT_FOUND)
        command = SetSubscriptionState(id=id_, paused=paused, actor=call.principal.prefix)
        return await self._order(call, command)

    async def replay(self, call: Call) -> web.Response:
        """200; events from there on come again, in order, and then what is new."""
        command = ReplaySubscription(
            id=name_of(call, missing=NOT_FOUND),
            start=ReplayStart(**dict(call.body)),
            actor=call.principal.prefix,
        )
        return await self._order(call, command, deadline_seconds=REPLAY_DEADLINE_SECONDS)

    async def _order(
        self,
        call: Call,
        command: SetSubscription | SetSubscriptionState | ReplaySubscription,
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
    ) -> web.Response:
        found = await self._bus.ask(
            command,
            tenant=call.principal.tenant,
            source=SOURCE,
            deadline_seconds=deadline_seconds,
        )
        return _answer(found)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (*self._reads(), *self._changes(), *self._orders())

    def _reads(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="listSubscriptions",
                method="GET",
                path="/api/subscriptions",
                tag=TAG,
                summary="List subscriptions and their lag",
                handle=self.list_page,
                scope=Scope.EVENTS_READ,
                query=PageQuery,
                answers=(Answer(status=200, description="A page", model=Subscriptions),),
            ),
            Operation(
                id="getSubscription",
                method="GET",
                path=PATH,
                tag=TAG,
                summary="Read a subscription and its lag",
                handle=self.get,
                scope=Scope.EVENTS_READ,
                parameters=(NAME,),
                answers=(FOUND,),
                problems={404: NOT_FOUND.code},
            ),
        )

    def _changes(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="setSubscription",
                method="PUT",
                path=PATH,
                tag=TAG,
                summary="Make or replace a subscription",
                description="An existing one keeps its place in the log, and its secrets.",
                handle=self.put,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                body=SubscriptionBody,
                answers=(FOUND,),
                problems={
                    409: "protocol_is_fixed, queue_settings_are_fixed, too_many_subscriptions",
                    422: "invalid_input, invalid_subscription",
                },
                example=EXAMPLE,
            ),
            Operation(
                id="deleteSubscription",
                method="DELETE",
                path=PATH,
                tag=TAG,
                summary="Remove a subscription and its queue",
                handle=self.delete,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                answers=(Answer(status=204, description="Removed"),),
                problems={404: NOT_FOUND.code},
            ),
        )

    def _orders(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="pauseSubscription",
                method="POST",
                path=f"{PATH}/pause",
                tag=TAG,
                summary="Stop delivering; events wait in the log",
                handle=self.pause,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                answers=(FOUND,),
                problems={404: NOT_FOUND.code},
            ),
            Operation(
                id="resumeSubscription",
                method="POST",
                path=f"{PATH}/resume",
                tag=TAG,
                summary="Go on where it stopped",
                handle=self.resume,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                answers=(FOUND,),
                problems={404: NOT_FOUND.code},
            ),
            Operation(
                id="replaySubscription",
                method="POST",
                path=f"{PATH}/replay",
                tag=TAG,
                summary="Deliver again from an offset, a time or an event",
                handle=self.replay,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                body=ReplayBody,
                answers=(FOUND,),
                problems={404: "subscription_not_found, event_not_found"},
                example={"time": "2026-03-02T06:00:00Z"},
            ),
        )


def _answer(found: SubscriptionFound) -> web.Response:
    """Write a subscription; a secret in it must not stay in any cache."""
    headers = None if found.generated_secret is None else {"Cache-Control": "no-store"}
    return json_answer(found, headers=headers)


TAG = "Events"
FOUND = Answer(status=200, description="The subscription", model=SubscriptionAnswer)
NOT_FOUND = Problem(
    code="subscription_not_found", title="There is no such subscription", status=404
)
