"""Questions about the present state of the plant: orders, lots, quality alerts and equipment.

The event-router keeps the views with the events that it accepts. Of each field the latest event
that states it counts: by `time`, at equal times by `recordedtime`, then by `id`. So an event that
arrives late fills what nobody has stated since, and overwrites nothing newer.
"""

from typing import Annotated, Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Quantity, Value
from lineshaft_contracts.inventory import LotStatus
from lineshaft_contracts.plant import Identifier, OpenEnum, ProducedQuantity
from lineshaft_contracts.quality import ConditionState
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.resource import EquipmentMode, EquipmentState
from lineshaft_contracts.topology import EVENT_ROUTER_QUERIES

IDS_MAX = 200
NODES_MAX = 2000
"""Equipment in one tree."""

ViewId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Path = Annotated[str, Field(min_length=2, max_length=255, pattern=r"^/[a-z0-9_/-]+$")]
"""This equipment and all below it."""


class OrderState(OpenEnum):
    """How far a job order is."""

    RELEASED = "released"
    STARTED = "started"
    HELD = "held"
    COMPLETED = "completed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


class AlertCondition(OpenEnum):
    """Whether a quality alert still needs somebody."""

    ACTIVE = "active"
    ACKNOWLEDGED = "acknowledged"
    CLEARED = "cleared"
    UNKNOWN = "unknown"


class _View(Value):
    """What all views say of the latest event that they are made of."""

    source: str
    """Equipment that the latest event is of."""
    changed_at: Moment
    """`time` of the latest event."""
    event_id: str
    event_type: str


class PlantOrder(_View):
    """A job order as its events leave it."""

    job_order_id: str
    state: OrderState
    material_definition_id: str | None = None
    planned_quantity: Quantity | None = None
    produced_quantity: ProducedQuantity | None = None
    """Totals of order-progressed, order-completed or order-aborted; unit-produced adds nothing."""
    percent_complete: float | None = None
    work_master_id: str | None = None
    operations_request_id: str | None = None
    operations_segment_id: str | None = None
    """The operation that was reported last."""
    dispatch_priority: int | None = None
    planned_start_time: Moment | None = None
    planned_end_time: Moment | None = None
    actual_start_time: Moment | None = None
    actual_end_time: Moment | None = None
    reason_code: str | None = None
    """Why it is held or was aborted."""
    reason: str | None = None


class PlantLot(_View):
    """A material lot as its events leave it."""

    material_lot_id: str
    status: LotStatus
    material_definition_id: str | None = None
    quantity: Quantity | None = None
    """What an event last stated that the lot holds."""
    quantity_at: Moment | None = None
    """When that was."""
    used_at: Moment | None = None
    """When some was used since then without a word of what remains: `quantity` is too high."""
    storage_location: str | None = None
    """Where it, or the part of it that moved last, is."""
    job_order_id: str | None = None
    expiration_time: Moment | None = None
    reason_code: str | None = None
    """Of the status."""
    reason: str | None = None


class PlantAlert(_View):
    """A quality alert as its events leave it."""

    alert_id: str
    state: AlertCondition
    condition_name: str | None = None
    severity: int | None = None
    message: str | None = None
    characteristic: str | None = None
    measurement: Quantity | None = None
    limit: Quantity | None = None
    job_order_id: str | None = None
    material_lot_id: str | None = None
    raised_at: Moment | None = None
    """Of the latest raise; what follows is None when it was before that."""
    acknowledged_at: Moment | None = None
    acknowledged_by: str | None = None
    cleared_at: Moment | None = None
    comment: str | None = None
    condition: ConditionState | None = None
    """As the publisher's alarm system stated it last."""


class PlantEquipment(_View):
    """A piece of equipment as its events leave it."""

    equipment_id: str
    """The words of its path with dots between: `acme.north.stamping.line-1.press-1`."""
    path: str
    state: EquipmentState
    state_since: Moment | None = None
    state_reason_code: str | None = None
    state_reason: str | None = None
    planned: bool | None = None
    """Whether a stop was planned."""
    mode: EquipmentMode
    mode_since: Moment | None = None
    heartbeat_at: Moment | None = None
    heartbeat_interval_seconds: float | None = None
    job_order_id: str | None = None
    """Of the operation that began here and has not ended."""
    operations_segment_id: str | None = None


class EquipmentNode(Value):
    """A level of the equipment hierarchy; `equipment` is None where no event came from itself."""

    path: str
    name: str
    equipment: PlantEquipment | None = None
    by_state: dict[str, int]
    """Equipment with a view, here and below, by its state."""
    children: tuple["EquipmentNode", ...] = ()


def _reply(name: str) -> Any:
    return message(f"lineshaft.plant.{name}.v1", kind=Kind.REPLY, owner="event-router")


def _query(name: str) -> Any:
    return message(
        f"lineshaft.plant.{name}.v1",
        kind=Kind.QUERY,
        owner="event-router",
        exchange=EVENT_ROUTER_QUERIES,
        durable=False,
    )


class _Page(Message):
    """What pages share; rows are in the order of their ids, so that a change moves none."""

    next_cursor: str | None = None
    """Pass it as `cursor` for the page after this one; None when this is the last."""


@_reply("orders")
class PlantOrderPage(_Page):
    """Answer to ListPlantOrders."""

    orders: tuple[PlantOrder, ...]


@_reply("lots")
class PlantLotPage(_Page):
    """Answer to ListPlantLots."""

    lots: tuple[PlantLot, ...]


@_reply("alerts")
class PlantAlertPage(_Page):
    """Answer to ListPlantAlerts."""

    alerts: tuple[PlantAlert, ...]


@_reply("equipment")
class PlantEquipmentPage(_Page):
    """Answer to ListPlantEquipment."""

    equipment: tuple[PlantEquipment, ...]


class PlantQuestion:
    """All questions to the event-router travel through one queue; a tenant sees its own."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return the one key of questions."""
        return "query"


class _Listing(Value):
    """What lists of views share; conditions are joined with AND."""

    ids: Annotated[tuple[ViewId, ...], Field(max_length=IDS_MAX)] = ()
    below: Path | None = None
    changed_since: Moment | None = None
    """At or after it, by the `time` of the latest event."""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: ViewId | None = None


@_query("list-orders")
class ListPlantOrders(PlantQuestion, _Listing, Asking[PlantOrderPage]):
    """Job orders by id."""

    states: Annotated[tuple[OrderState, ...], Field(max_length=8)] = ()
    material_definition_id: Identifier | None = None


@_query("list-lots")
class ListPlantLots(PlantQuestion, _Listing, Asking[PlantLotPage]):
    """Material lots by id."""

    statuses: Annotated[tuple[LotStatus, ...], Field(max_length=8)] = ()
    material_definition_id: Identifier | None = None
    storage_location: Identifier | None = None
    job_order_id: Identifier | None = None


@_query("list-alerts")
class ListPlantAlerts(PlantQuestion, _Listing, Asking[PlantAlertPage]):
    """Quality alerts by id."""

    states: Annotated[tuple[AlertCondition, ...], Field(max_length=4)] = ()
    severity_min: Annotated[int, Field(ge=1, le=1000)] | None = None
    job_order_id: Identifier | None = None


@_query("list-equipment")
class ListPlantEquipment(PlantQuestion, _Listing, Asking[PlantEquipmentPage]):
    """Equipment by id."""

    states: Annotated[tuple[EquipmentState, ...], Field(max_length=9)] = ()


@_reply("equipment-tree")
class PlantEquipmentTree(Message):
    """Answer to GetPlantEquipmentTree."""

    roots: tuple[EquipmentNode, ...]
    truncated: bool
    """Whether there is more equipment than one tree may hold: ask below a path."""


@_query("get-equipment-tree")
class GetPlantEquipmentTree(PlantQuestion, Asking[PlantEquipmentTree]):
    """The equipment hierarchy with the state of each piece."""

    below: Path | None = None
