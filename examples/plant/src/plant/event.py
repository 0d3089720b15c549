"""One plant event as the plant writes it: a CloudEvent in structured mode."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from uuid import UUID

from plant.layout import SITE, Line


@dataclass(frozen=True, kw_only=True)
class PlantEvent:
    """What happened, where and when; `to_cloudevent` gives it an id and an owner."""

    type: str
    """Without prefix and version, such as `production.order-released`."""
    time: datetime
    line: Line
    data: dict[str, Any]
    work_unit: str | None = None
    subject: str | None = None
    priority: str = "normal"
    number: int = field(default=0, compare=False)
    """Place in the shift."""

    def to_cloudevent(self, *, tenant: str) -> dict[str, Any]:
        """Return the JSON object. The id follows from the content: a repeat is the same event."""
        path = ["", tenant, SITE, self.line.area, self.line.name]
        source = "/".join([*path, self.work_unit] if self.work_unit else path)
        event = {
            "specversion": "1.0",
            "id": str(self._id(source)),
            "source": source,
            "type": f"plant.{self.type}.v1",
            "time": self.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "tenant": tenant,
            "priority": self.priority,
            "partitionkey": self.subject or source,
            "datacontenttype": "application/json",
            "data": self.data,
        }
        return event if self.subject is None else {**event, "subject": self.subject}

    def _id(self, source: str) -> UUID:
        """Make a UUIDv7 of the event's time whose random part is a digest of its identity."""
        identity = f"{source} {self.type} {self.time.isoformat()} {self.number}"
        digest = int.from_bytes(sha256(identity.encode()).digest()[:10])
        value = int(self.time.timestamp() * 1000) << 80 | 0x7 << 76
        value |= (digest >> 62 & 0xFFF) << 64 | 0b10 << 62 | digest & ((1 << 62) - 1)
        return UUID(int=value)


def quantity(value: float, uom: str = "pcs") -> dict[str, str]:
    """Write an amount with its unit; decimal text, so that nothing is rounded on the way."""
    return {"value": f"{value:.3f}".rstrip("0").rstrip("."), "uom": uom}


def produced(good: int, scrap: int = 0, rework: int = 0) -> dict[str, Any]:
    """Write what came out of production, by its fate."""
    return {"good": quantity(good), "scrap": quantity(scrap), "rework": quantity(rework)}
