"""What was delivered, what is parked, and who did what to subscriptions."""

from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_contracts.subscription_reports import (
    ListDeliveries,
    ListParked,
    ListSubscriptionAudit,
    ParkedRedriven,
    RedriveParked,
    RedriveSubscription,
    SubscriptionAudit,
)

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.named import NAME, name_of
from lineshaft_gateway.routes.subscription_bodies import (
    Deliveries,
    DeliveriesQuery,
    PageQuery,
    Parked,
    ParkedQuery,
    RedriveBody,
)
from lineshaft_gateway.routes.subscriptions import DEADLINE_SECONDS, NOT_FOUND, PATH, TAG


class SubscriptionReportRoutes:
    """Handlers."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def deliveries(self, call: Call) -> web.Response:
        """List the latest attempts."""
        question = ListDeliveries(id=name_of(call, missing=NOT_FOUND), **dict(call.query))
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(question, tenant=tenant, source=SOURCE))

    async def parked(self, call: Call) -> web.Response:
        """List the events that were given up."""
        question = ListParked(id=name_of(call, missing=NOT_FOUND), **dict(call.query))
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(question, tenant=tenant, source=SOURCE))

    async def redrive(self, call: Call) -> web.Response:
        """200 with how many keys match, and how many are tried again."""
        command = RedriveSubscription(
            id=name_of(call, missing=NOT_FOUND),
            redrive=RedriveParked(**dict(call.body)),
            actor=call.principal.prefix,
        )
        tenant = call.principal.tenant
        return json_answer(
            await self._bus.ask(
                command, tenant=tenant, source=SOURCE, deadline_seconds=DEADLINE_SECONDS
            )
        )

    async def audit(self, call: Call) -> web.Response:
        """List who did what to the tenant's subscriptions."""
        question = ListSubscriptionAudit(limit=call.query.limit, cursor=call.query.cursor)
        tenant = call.principal.tenant
        return json_answer(await self._bus.ask(question, tenant=tenant, source=SOURCE))

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="listDeliveries",
                method="GET",
                path=f"{PATH}/deliveries",
                tag=TAG,
                summary="List the latest attempts to deliver",
                handle=self.deliveries,
                scope=Scope.EVENTS_READ,
                query=DeliveriesQuery,
                parameters=(NAME,),
                answers=(Answer(status=200, description="A page", model=Deliveries),),
                problems={404: NOT_FOUND.code},
            ),
            Operation(
                id="listParkedEvents",
                method="GET",
                path=f"{PATH}/parked",
                tag=TAG,
                summary="List events that were given up",
                handle=self.parked,
                scope=Scope.EVENTS_READ,
                query=ParkedQuery,
                parameters=(NAME,),
                answers=(Answer(status=200, description="A page", model=Parked),),
                problems={404: NOT_FOUND.code},
            ),
            *self._writers(),
        )

    def _writers(self) -> tuple[Operation, ...]:
        return (
            Operation(
                id="listSubscriptionAudit",
                method="GET",
                path="/api/subscriptions-audit",
                tag=TAG,
                summary="List who did what to subscriptions",
                handle=self.audit,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                query=PageQuery,
                answers=(Answer(status=200, description="A page", model=SubscriptionAudit),),
            ),
            Operation(
                id="redriveParkedEvents",
                method="POST",
                path=f"{PATH}/parked/redrive",
                tag=TAG,
                summary="Try parked keys again",
                handle=self.redrive,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                parameters=(NAME,),
                body=RedriveBody,
                answers=(Answer(status=200, description="How many", model=ParkedRedriven),),
                problems={404: NOT_FOUND.code},
                example={"dry_run": True, "keys_per_second": 5},
            ),
        )
