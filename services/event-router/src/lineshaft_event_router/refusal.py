"""What there is to say of an event that was not let in."""

from typing import Any, cast

from lineshaft_common.messaging import Delivery
from lineshaft_contracts.door import EVENT_BYTES_MAX
from lineshaft_contracts.envelope import PLATFORM_TENANT, Tenant, Value
from lineshaft_contracts.problems import Problem
from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

ERRORS_MAX = 10
TEXT_MAX = 255

_TENANT = TypeAdapter[str](Tenant)


class Refusal(Value):
    """A refused event, as far as it could be read: its own words are claims, and cut short."""

    lane: str
    tenant: str
    """`_platform` when it names none that could exist."""
    problem: Problem
    event_id: str | None
    source: str | None
    event_type: str | None
    body_bytes: int

    @property
    def reason(self) -> str:
        """What is wrong with which field, in one line."""
        fields = "; ".join(f"{e.pointer}: {e.message}" for e in self.problem.errors[:ERRORS_MAX])
        return f"{self.problem.title}. {self.problem.detail} {fields}".strip()


def refusal(lane: str, delivery: Delivery[Any], problem: Problem) -> Refusal:
    """Describe why a message was refused, and whose it says that it is."""
    claims = _claims(delivery.body)
    try:
        tenant = _TENANT.validate_python(claims.get("tenant"))
    except ValidationError:
        tenant = PLATFORM_TENANT
    return Refusal(
        lane=lane,
        tenant=tenant,
        problem=problem,
        event_id=_text(claims.get("id")) or _text(delivery.envelope.id),
        source=_text(claims.get("source")),
        event_type=_text(claims.get("type")) or _text(delivery.envelope.type),
        body_bytes=len(delivery.body),
    )


def _claims(body: bytes) -> dict[str, Any]:
    try:
        event = from_json(body[:EVENT_BYTES_MAX], allow_partial=True, cache_strings="keys")
    except ValueError:
        return {}
    return cast("dict[str, Any]", event) if isinstance(event, dict) else {}


def _text(claim: object) -> str | None:
    """Cut it short, without the NUL characters that PostgreSQL cannot store; None for no text."""
    return claim[:TEXT_MAX].replace("\0", "\ufffd") or None if isinstance(claim, str) else None
