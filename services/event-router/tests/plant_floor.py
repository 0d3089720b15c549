"""Events as a plant sends them, and an inbox and a quarantine in memory."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from lineshaft_common.messaging import Outgoing
from lineshaft_contracts.envelope import Envelope, uuid7
from lineshaft_event_router.refusal import Refusal
from pydantic_core import to_json

SOURCE = "/acme/north/stamping/line-1/press-1"


def event(**changes: Any) -> dict[str, Any]:
    """Make a valid event with some attributes changed; None leaves one out."""
    made: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid7()),
        "source": SOURCE,
        "type": "plant.production.unit-produced.v1",
        "time": datetime.now(UTC).isoformat(),
        "tenant": "acme",
        "data": {
            "material_definition_id": "piston-ring-74",
            "quantity": {"good": {"value": "1", "uom": "pcs"}},
        },
    }
    return {name: value for name, value in (made | changes).items() if value is not None}


def sent(
    body: dict[str, Any] | bytes, *, lane: str = "normal", headers: Any = None, type_: str = ""
) -> Outgoing:
    """Address an event to the ingress; the AMQP properties are not what decides."""
    return Outgoing(
        exchange="plant.ingress",
        routing_key=lane,
        type=type_,
        message_id=str(uuid7()),
        body=body if isinstance(body, bytes) else to_json(body),
        headers=headers or {},
    )


class MemoryInbox:
    """Accepts every (tenant, source, id) once."""

    def __init__(self) -> None:
        self.accepted: list[Envelope[Any]] = []
        self.batches: list[int] = []
        self.fails: list[Exception] = []
        """Raised one after the other before anything is accepted again."""
        self.poisonous = set[str]()
        """Ids that are never accepted."""
        self._known = set[tuple[str, str, str]]()

    async def accept(self, envelopes: Sequence[Envelope[Any]]) -> Sequence[Envelope[Any]]:
        if self.fails:
            raise self.fails.pop(0)
        if any(envelope.id in self.poisonous for envelope in envelopes):
            raise ValueError("cannot be stored")
        self.batches.append(len(envelopes))
        fresh = list[Envelope[Any]]()
        for envelope in envelopes:
            key = (envelope.tenant, envelope.source, envelope.id)
            if key not in self._known:
                self._known.add(key)
                fresh.append(envelope)
        self.accepted += fresh
        return fresh


class MemoryQuarantine:
    """Keeps every refusal."""

    def __init__(self) -> None:
        self.refusals: list[Refusal] = []

    async def record(self, refusals: Sequence[Refusal]) -> None:
        self.refusals += refusals
