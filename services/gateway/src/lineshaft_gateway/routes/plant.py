"""`/api/plant/...`: the present state of the plant, and where its live stream goes on."""

from collections.abc import Callable
from typing import Any, TypeVar

from aiohttp import web
from lineshaft_contracts.envelope import Asking
from lineshaft_contracts.plant_views import (
    EquipmentNode,
    GetPlantEquipmentTree,
    ListPlantAlerts,
    ListPlantEquipment,
    ListPlantLots,
    ListPlantOrders,
    PlantAlert,
    PlantEquipment,
    PlantLot,
    PlantOrder,
    ViewId,
)
from lineshaft_contracts.problems import Problem, ProblemError
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.plant_snapshots import PlantDesk
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.plant_queries import (
    EquipmentQuery,
    LotsQuery,
    OrdersQuery,
    PlantAlertsQuery,
    TreeQuery,
)

A = TypeVar("A", bound="_Snapshot")
ID: TypeAdapter[str] = TypeAdapter(ViewId)


class _Snapshot(BaseModel):
    """What every answer has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    as_of: str
    """Position of the log that the answer is complete up to: a stream with it as `Last-Event-ID`
    goes on without a gap. With several pages take that of the first one."""


class _SnapshotPage(_Snapshot):
    next_cursor: str | None
    """Pass it as `cursor` for the next page; null when this is the last."""


class Orders(_SnapshotPage):
    """Job orders by id."""

    orders: tuple[PlantOrder, ...]


class Lots(_SnapshotPage):
    """Material lots by id."""

    lots: tuple[PlantLot, ...]


class Alerts(_SnapshotPage):
    """Quality alerts by id."""

    alerts: tuple[PlantAlert, ...]


class Equipment(_SnapshotPage):
    """Equipment by id."""

    equipment: tuple[PlantEquipment, ...]


class EquipmentTree(_Snapshot):
    """The equipment hierarchy; only levels that events came from, and those above them."""

    roots: tuple[EquipmentNode, ...]
    truncated: bool
    """Whether there is more equipment than one answer holds: ask with `below`."""


class Order(_Snapshot):
    """One job order."""

    order: PlantOrder


class Lot(_Snapshot):
    """One material lot."""

    lot: PlantLot


class Alert(_Snapshot):
    """One quality alert."""

    alert: PlantAlert


class Piece(_Snapshot):
    """One piece of equipment."""

    equipment: PlantEquipment


class PlantRoutes:
    """Handlers; a key sees the plant of its tenant."""

    def __init__(self, desk: PlantDesk) -> None:
        self._desk = desk

    async def orders(self, call: Call) -> web.Response:
        """One page of orders."""
        return await self._answer(call, _listing(ListPlantOrders, call, state="states"), Orders)

    async def lots(self, call: Call) -> web.Response:
        """One page of lots."""
        return await self._answer(call, _listing(ListPlantLots, call, status="statuses"), Lots)

    async def alerts(self, call: Call) -> web.Response:
        """One page of quality alerts."""
        return await self._answer(call, _listing(ListPlantAlerts, call, state="states"), Alerts)

    async def equipment(self, call: Call) -> web.Response:
        """One page of equipment."""
        question = _listing(ListPlantEquipment, call, state="states")
        return await self._answer(call, question, Equipment)

    async def tree(self, call: Call) -> web.Response:
        """Everything that equipment tells, as a tree."""
        return await self._answer(
            call, GetPlantEquipmentTree(below=call.query.below), EquipmentTree
        )

    async def order(self, call: Call) -> web.Response:
        """One order."""
        return await self._one(call, ListPlantOrders, "orders", Order, "order")

    async def lot(self, call: Call) -> web.Response:
        """One lot."""
        return await self._one(call, ListPlantLots, "lots", Lot, "lot")

    async def alert(self, call: Call) -> web.Response:
        """One quality alert."""
        return await self._one(call, ListPlantAlerts, "alerts", Alert, "alert")

    async def piece(self, call: Call) -> web.Response:
        """One piece of equipment."""
        return await self._one(call, ListPlantEquipment, "equipment", Piece, "equipment")

    async def _answer(self, call: Call, question: Asking[Any], model: type[A]) -> web.Response:
        found, position = await self._desk.read(question, tenant=call.principal.tenant)
        return json_answer(model.model_construct(**dict(found), as_of=position))

    async def _one(
        self,
        call: Call,
        asking: Callable[..., Asking[Any]],
        rows: str,
        model: type[A],
        name: str,
    ) -> web.Response:
        try:
            id_ = ID.validate_python(call.request.match_info["id"])
        except ValidationError:
            raise ProblemError(NOT_FOUND) from None
        found, position = await self._desk.read(asking(ids=(id_,)), tenant=call.principal.tenant)
        views = getattr(found, rows)
        if not views:
            raise ProblemError(NOT_FOUND)
        return json_answer(model.model_construct(as_of=position, **{name: views[0]}))

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        lists = (
            ("Orders", "orders", "job orders", self.orders, OrdersQuery, Orders),
            ("Lots", "lots", "material lots", self.lots, LotsQuery, Lots),
            ("Alerts", "alerts", "quality alerts", self.alerts, PlantAlertsQuery, Alerts),
            ("Equipment", "equipment", "equipment", self.equipment, EquipmentQuery, Equipment),
        )
        ones = (
            ("Order", "orders", "a job order", self.order, Order),
            ("Lot", "lots", "a material lot", self.lot, Lot),
            ("Alert", "alerts", "a quality alert", self.alert, Alert),
            ("EquipmentPiece", "equipment", "a piece of equipment", self.piece, Piece),
        )
        return (
            *(
                _get(f"listPlant{noun}", path, f"List {what}", handle, query=query, model=model)
                for noun, path, what, handle, query, model in lists
            ),
            _get("getPlantEquipmentTree", "equipment-tree", "Read the equipment tree", self.tree,
                 query=TreeQuery, model=EquipmentTree),
            *(
                _get(f"getPlant{noun}", f"{path}/{{id}}", f"Read {what}", handle, model=model,
                     parameters=(VIEW_ID,), problems={404: NOT_FOUND.code})
                for noun, path, what, handle, model in ones
            ),
        )  # fmt: skip


def _listing(asking: Callable[..., Asking[Any]], call: Call, **renamed: str) -> Asking[Any]:
    given: dict[str, Any] = dict(call.query)
    for name, theirs in renamed.items():
        given[theirs] = given.pop(name)
    return asking(**given)


def _get(
    id_: str, path: str, summary: str, handle: Any, *, model: type[BaseModel], **given: Any
) -> Operation:
    return Operation(
        id=id_,
        method="GET",
        path=f"/api/plant/{path}",
        tag="Plant",
        summary=summary,
        description=DESCRIPTION,
        handle=handle,
        scope=Scope.EVENTS_READ,
        answers=(Answer(status=200, description=summary, model=model),),
        **given,
    )


VIEW_ID = Parameter(
    name="id",
    place="path",
    description="Its id; of equipment the words of its path with dots between.",
    schema={"type": "string", "minLength": 1, "maxLength": 200},
)
NOT_FOUND = Problem(
    code="plant_view_not_found", title="No event spoke of this, or not for long", status=404
)
DESCRIPTION = (
    "Built from the events that were accepted. Open `/api/events/stream` with `as_of` as "
    "`last_event_id` to follow from there: events that are in the answer already may come again."
)
