"""Events of job orders and of what they produce (plant domain `production`)."""

from typing import Annotated

from pydantic import Field

from lineshaft_contracts.envelope import Moment, Quantity
from lineshaft_contracts.plant import (
    Code,
    Identifier,
    MaterialActual,
    PlantEvent,
    ProducedQuantity,
    Seconds,
    Text,
    plant_event,
)
from lineshaft_contracts.topology import PLANT_PRODUCTION


class JobOrderEvent(PlantEvent):
    """An event about one job order (B2MML JobOrder, JobResponse)."""

    job_order_id: Identifier


@plant_event(PLANT_PRODUCTION, "order-released")
class OrderReleased(JobOrderEvent):
    """A job order may be worked on."""

    material_definition_id: Identifier
    """What shall be made."""
    quantity: Quantity
    """How much of it."""
    work_master_id: Identifier | None = None
    """How: the master recipe or routing."""
    operations_request_id: Identifier | None = None
    """The order of the business system that it fulfils."""
    start_time: Moment | None = None
    """Planned."""
    end_time: Moment | None = None
    """Planned; late after it."""
    dispatch_priority: Annotated[int, Field(ge=0, le=1000)] | None = None
    """Higher is sooner; the publisher's own scale."""
    material_requirement: tuple[MaterialActual, ...] = ()
    """The bill of material."""


@plant_event(PLANT_PRODUCTION, "order-started")
class OrderStarted(JobOrderEvent):
    """The first operation of the order began."""

    material_definition_id: Identifier | None = None
    quantity: Quantity | None = None
    """Planned."""


@plant_event(PLANT_PRODUCTION, "order-progressed")
class OrderProgressed(JobOrderEvent):
    """How far the order is; quantities are totals since its start."""

    quantity: ProducedQuantity
    percent_complete: Annotated[float, Field(ge=0, le=100)] | None = None
    operations_segment_id: Identifier | None = None


@plant_event(PLANT_PRODUCTION, "order-completed")
class OrderCompleted(JobOrderEvent):
    """The order is done; quantities are its final totals."""

    quantity: ProducedQuantity
    start_time: Moment | None = None
    """Actual."""
    end_time: Moment | None = None
    """Actual."""
    material_actual: tuple[MaterialActual, ...] = ()


@plant_event(PLANT_PRODUCTION, "order-held")
class OrderHeld(JobOrderEvent):
    """Work on the order stopped for now."""

    reason_code: Code
    reason: Text | None = None


@plant_event(PLANT_PRODUCTION, "order-aborted")
class OrderAborted(JobOrderEvent):
    """Work on the order stopped for good before it was complete."""

    reason_code: Code
    reason: Text | None = None
    quantity: ProducedQuantity | None = None
    """What it had made by then."""


class OperationEvent(JobOrderEvent):
    """An event about one operation of an order (B2MML OperationsSegment)."""

    operations_segment_id: Identifier


@plant_event(PLANT_PRODUCTION, "operation-started")
class OperationStarted(OperationEvent):
    """An operation of an order began at the work unit in `source`."""

    personnel_id: Identifier | None = None
    setup: bool = False
    """Whether it began with a set-up, not yet with production."""


@plant_event(PLANT_PRODUCTION, "operation-completed")
class OperationCompleted(OperationEvent):
    """An operation of an order ended; the time elements are those of ISO 22400-2."""

    quantity: ProducedQuantity
    personnel_id: Identifier | None = None
    actual_unit_setup_time_seconds: Seconds | None = None
    actual_production_time_seconds: Seconds | None = None
    actual_unit_delay_time_seconds: Seconds | None = None


@plant_event(PLANT_PRODUCTION, "unit-produced")
class UnitProduced(PlantEvent):
    """A piece or a batch of pieces left a work unit; quantities are increments, not totals."""

    material_definition_id: Identifier
    quantity: ProducedQuantity
    job_order_id: Identifier | None = None
    operations_segment_id: Identifier | None = None
    material_lot_id: Identifier | None = None
    """The lot that it went into."""
    planned_runtime_per_item_seconds: Annotated[Seconds, Field(gt=0)] | None = None
    """The ideal cycle time (ISO 22400-2 PRI), from which performance follows."""
    defect_code: Code | None = None
    """Why what is scrap or rework is not good."""
    material_actual: tuple[MaterialActual, ...] = ()
