"""Events of material lots and stock levels (plant domain `inventory`)."""

from lineshaft_contracts.envelope import Moment, Quantity
from lineshaft_contracts.plant import (
    Code,
    Identifier,
    OpenEnum,
    PlantEvent,
    Text,
    plant_event,
)
from lineshaft_contracts.topology import PLANT_INVENTORY


class LotStatus(OpenEnum):
    """Whether a lot may be used (B2MML MaterialLot Status)."""

    AVAILABLE = "available"
    QUARANTINED = "quarantined"
    BLOCKED = "blocked"
    RELEASED = "released"
    REJECTED = "rejected"
    CONSUMED = "consumed"
    UNKNOWN = "unknown"


class LotEvent(PlantEvent):
    """An event about one material lot (B2MML MaterialLot)."""

    material_lot_id: Identifier


@plant_event(PLANT_INVENTORY, "lot-created")
class LotCreated(LotEvent):
    """A lot came into being: received, or made by an order."""

    material_definition_id: Identifier
    quantity: Quantity
    status: LotStatus = LotStatus.AVAILABLE
    storage_location: Identifier | None = None
    job_order_id: Identifier | None = None
    """The order that made it."""
    expiration_time: Moment | None = None


@plant_event(PLANT_INVENTORY, "lot-moved")
class LotMoved(LotEvent):
    """A lot, or a part of one, is somewhere else now."""

    quantity: Quantity
    from_storage_location: Identifier
    to_storage_location: Identifier
    material_definition_id: Identifier | None = None


@plant_event(PLANT_INVENTORY, "lot-adjusted")
class LotAdjusted(LotEvent):
    """The book was corrected: a count, a loss, a find."""

    quantity: Quantity
    """What the lot holds now."""
    quantity_change: Quantity
    """The correction, negative for a loss."""
    reason_code: Code
    material_definition_id: Identifier | None = None
    storage_location: Identifier | None = None


@plant_event(PLANT_INVENTORY, "lot-consumed")
class LotConsumed(LotEvent):
    """Production used some of a lot."""

    material_definition_id: Identifier
    quantity: Quantity
    """What was used now."""
    quantity_remaining: Quantity | None = None
    storage_location: Identifier | None = None
    job_order_id: Identifier | None = None
    operations_segment_id: Identifier | None = None


@plant_event(PLANT_INVENTORY, "lot-status-changed")
class LotStatusChanged(LotEvent):
    """A lot may be used from now on, or no longer."""

    status: LotStatus
    previous_status: LotStatus | None = None
    reason_code: Code | None = None
    reason: Text | None = None


@plant_event(PLANT_INVENTORY, "level-below-minimum")
class LevelBelowMinimum(PlantEvent):
    """A material's stock fell below its minimum at a place."""

    material_definition_id: Identifier
    storage_location: Identifier
    quantity_on_hand: Quantity
    quantity_minimum: Quantity
