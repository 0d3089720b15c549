"""What all plant events share: the words of the equipment, materials and people they speak of.

Field names follow ISA-95 and its B2MML schemas (job_order_id, material_lot_id, operations
segment), OPC UA Part 9 for alarm conditions and ISO 22400 for time elements.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any, TypeVar

from pydantic import Field, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from lineshaft_contracts.envelope import Envelope, EquipmentPath, Message, Quantity, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import Exchange

E = TypeVar("E", bound="PlantEvent")

AT_THE_DOOR = "at_the_door"
"""Validation context of the door, where a word outside an enumeration is refused."""

Identifier = Annotated[str, Field(min_length=1, max_length=64)]
"""A business key of the publisher's: an order number, a lot, a material."""
Code = Annotated[str, Field(min_length=1, max_length=64)]
"""A word of the publisher's code list: a reason, a defect."""
Text = Annotated[str, Field(max_length=1000)]
"""Prose for people."""
Seconds = Annotated[float, Field(ge=0, le=31_622_400)]
"""A duration of at most 366 days."""


class OpenEnum(StrEnum):
    """A list that may grow: consumers read a word they do not know yet as `unknown`.

    Every subclass has a member UNKNOWN. The door stays closed: see `AT_THE_DOOR`.
    """

    @classmethod
    def _missing_(cls, value: object) -> "OpenEnum":
        return cls["UNKNOWN"]

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Refuse unknown words when the context says that we stand at the door."""
        words = frozenset(member.value for member in cls)

        def known(value: Any, info: ValidationInfo) -> Any:
            if info.context == AT_THE_DOOR and (not isinstance(value, str) or value not in words):
                raise PydanticCustomError(
                    "enum", "Input should be one of {expected}", {"expected": sorted(words)}
                )
            return value

        return core_schema.with_info_before_validator_function(known, handler(source))


class ProducedQuantity(Value):
    """What came out of production, by its fate; all three in the same unit of measure."""

    good: Quantity
    scrap: Quantity | None = None
    rework: Quantity | None = None


class MaterialUse(OpenEnum):
    """What became of a material (B2MML MaterialUse)."""

    CONSUMED = "consumed"
    CONSUMABLE = "consumable"
    PRODUCED = "produced"
    BY_PRODUCT = "by_product"
    CO_PRODUCT = "co_product"
    UNKNOWN = "unknown"


class MaterialActual(Value):
    """A material that production really used or made (B2MML MaterialActual)."""

    material_definition_id: Identifier
    material_use: MaterialUse
    quantity: Quantity
    material_lot_id: Identifier | None = None
    material_sublot_id: Identifier | None = None
    """A serial number, when the sublot is one piece."""


class PlantEvent(Message):
    """A fact that equipment or an application of the plant states."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `<tenant>.<site>.<area>.<workcenter>.<workunit>.<event>.<priority>`.

        The first five words are the envelope's `source`, an equipment path of its tenant;
        raises ValueError when it is not.
        """
        path = EquipmentPath(envelope.source)
        if path.tenant != envelope.tenant:
            raise ValueError(f"source {envelope.source} is not of tenant {envelope.tenant}")
        event = self.type.split(".")[2]
        return ".".join((*path.routing_words(), event, envelope.priority))


def plant_event(exchange: Exchange, event: str) -> Callable[[type[E]], type[E]]:
    """Register an event of one plant domain, which writers outside the platform may send."""
    return message(
        f"{exchange.name}.{event}.v1",
        kind=Kind.EVENT,
        owner="plant",
        exchange=exchange,
        external=True,
    )
