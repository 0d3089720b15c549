"""Accepted plant events at chosen moments."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Envelope
from pydantic_core import to_json

from .plant_floor import event

START = datetime(2026, 11, 25, 6, 0, tzinfo=UTC)


def pieces(number: int) -> dict[str, str]:
    return {"value": str(number), "uom": "pcs"}


def fact(name: str, minute: float, data: dict[str, Any], **changes: Any) -> Envelope[Any]:
    """Make an event, `production.order-started` for example, that happened at a minute."""
    heard = changes.pop("heard", minute)
    made = event(
        type=f"plant.{name}.v1",
        time=(START + timedelta(minutes=minute)).isoformat(),
        data=data,
        **changes,
    )
    envelope = validate_plant_event(to_json(made))
    return envelope.model_copy(update={"recordedtime": START + timedelta(minutes=heard)})


def order(name: str, minute: float, **data: Any) -> Envelope[Any]:
    changes = {key: data.pop(key) for key in ("id", "heard", "source", "tenant") if key in data}
    data = {"job_order_id": "JO-1", **data}
    return fact(f"production.order-{name}", minute, data, **changes)
