"""Query strings of `/api/plant/...`."""

from typing import Annotated, Literal

from lineshaft_contracts.envelope import Moment
from lineshaft_contracts.plant_views import Path, ViewId
from pydantic import BaseModel, ConfigDict, Field

CLOSED = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

Key = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Severity = Annotated[int, Field(ge=1, le=1000)]
OrderStates = Literal["released", "started", "held", "completed", "aborted"]
LotStates = Literal["available", "quarantined", "blocked", "released", "rejected", "consumed"]
AlertStates = Literal["active", "acknowledged", "cleared"]
EquipmentStates = Literal[
    "running", "idle", "setup", "starved", "blocked", "down", "maintenance", "off", "unknown"
]


class PlantQuery(BaseModel):
    """What all lists take; conditions are joined with AND."""

    model_config = CLOSED

    below: Path | None = None
    """This equipment path and everything below it."""
    changed_since: Moment | None = None
    """At or after it, by the `time` of the latest event."""
    limit: Annotated[int, Field(ge=1, le=500)] = 100
    cursor: ViewId | None = None
    """`next_cursor` of the page before."""


class OrdersQuery(PlantQuery):
    """Which orders to list."""

    state: Annotated[tuple[OrderStates, ...], Field(max_length=8)] = ()
    """May be repeated."""
    material_definition_id: Key | None = None


class LotsQuery(PlantQuery):
    """Which lots to list."""

    status: Annotated[tuple[LotStates, ...], Field(max_length=8)] = ()
    """May be repeated."""
    material_definition_id: Key | None = None
    storage_location: Key | None = None
    job_order_id: Key | None = None


class PlantAlertsQuery(PlantQuery):
    """Which quality alerts to list."""

    state: Annotated[tuple[AlertStates, ...], Field(max_length=4)] = ()
    """May be repeated."""
    severity_min: Severity | None = None
    job_order_id: Key | None = None


class EquipmentQuery(PlantQuery):
    """Which equipment to list."""

    state: Annotated[tuple[EquipmentStates, ...], Field(max_length=9)] = ()
    """May be repeated."""


class TreeQuery(BaseModel):
    """Where the tree begins."""

    model_config = CLOSED

    below: Path | None = None
    """This equipment path and everything below it."""
