"""Events of equipment: states, modes, capabilities, signs of life (plant domain `resource`)."""

from typing import Annotated

from pydantic import Field

from lineshaft_contracts.envelope import Moment, Quantity
from lineshaft_contracts.plant import (
    Code,
    Identifier,
    OpenEnum,
    PlantEvent,
    Seconds,
    Text,
    plant_event,
)
from lineshaft_contracts.topology import PLANT_RESOURCE


class EquipmentState(OpenEnum):
    """What a work unit is doing, in the terms that the time model of ISO 22400-2 needs."""

    RUNNING = "running"
    IDLE = "idle"
    SETUP = "setup"
    STARVED = "starved"
    BLOCKED = "blocked"
    DOWN = "down"
    MAINTENANCE = "maintenance"
    OFF = "off"
    UNKNOWN = "unknown"


class EquipmentMode(OpenEnum):
    """How a work unit is operated (unit modes of PackML, ISA-TR88.00.02)."""

    PRODUCTION = "production"
    MAINTENANCE = "maintenance"
    MANUAL = "manual"
    CLEANING = "cleaning"
    DRY_RUN = "dry_run"
    UNKNOWN = "unknown"


class CapabilityType(OpenEnum):
    """How much of a capability can be planned with (ISA-95 capability types)."""

    AVAILABLE = "available"
    COMMITTED = "committed"
    UNATTAINABLE = "unattainable"
    UNKNOWN = "unknown"


@plant_event(PLANT_RESOURCE, "state-changed")
class StateChanged(PlantEvent):
    """The equipment in `source` is in another state now; the event's `time` is when it changed."""

    state: EquipmentState
    previous_state: EquipmentState | None = None
    since: Moment | None = None
    """When the previous state had begun."""
    reason_code: Code | None = None
    reason: Text | None = None
    planned: bool | None = None
    """Whether a stop was planned; an unplanned one counts against availability."""
    job_order_id: Identifier | None = None


@plant_event(PLANT_RESOURCE, "mode-changed")
class ModeChanged(PlantEvent):
    """The equipment in `source` is operated in another mode now."""

    mode: EquipmentMode
    previous_mode: EquipmentMode | None = None
    since: Moment | None = None
    """When the previous mode had begun."""
    reason_code: Code | None = None
    personnel_id: Identifier | None = None


@plant_event(PLANT_RESOURCE, "heartbeat")
class Heartbeat(PlantEvent):
    """The equipment in `source` is connected; its absence is the news."""

    interval_seconds: Annotated[Seconds, Field(gt=0)]
    """When to expect the next one."""
    state: EquipmentState | None = None


@plant_event(PLANT_RESOURCE, "capability-changed")
class CapabilityChanged(PlantEvent):
    """What the equipment in `source` is able to do changed (ISA-95 equipment capability)."""

    capability_id: Identifier
    capability_type: CapabilityType
    previous_capability_type: CapabilityType | None = None
    since: Moment | None = None
    """When the previous capability type had begun."""
    quantity: Quantity | None = None
    """How much of it, when it can be counted."""
    reason_code: Code | None = None
