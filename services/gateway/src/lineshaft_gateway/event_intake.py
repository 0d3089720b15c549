"""Taking plant events in: all events of a request are checked, then all go to the broker."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lineshaft_common import tracing
from lineshaft_common.messaging.bus import Bus, OutcomeUnknownError, PublishError
from lineshaft_common.messaging.outgoing import Outgoing
from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.topology import PLANT_INGRESS

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.cloudevents import RawEvent, moved

PUBLISH_DEADLINE_SECONDS = 5.0
YIELD_EVERY = 50
"""After so many checked events other requests get a turn."""


@dataclass(frozen=True, kw_only=True)
class Intake:
    """What became of the events of a request."""

    safe_ids: tuple[str, ...]
    """Of those that the broker has."""
    errors: tuple[FieldProblem, ...]
    """One for each event that it does not have, or of which nobody can say."""

    @property
    def complete(self) -> bool:
        """Whether the broker has all of them."""
        return not self.errors

    def problem(self) -> Problem:
        """Make the 503 problem of an incomplete intake."""
        return Problem(
            code="events_not_accepted",
            title="Not all events could be handed to the broker",
            detail="Send the request again: events with the same source and id count once.",
            status=503,
            retry_after_seconds=2,
            errors=self.errors,
        )


class EventDesk:
    """Takes events of one tenant at a time."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    async def take(self, raw: Sequence[RawEvent], *, tenant: str) -> Intake:
        """Check every event, then publish all; raises ProblemError when one is not valid."""
        envelopes: list[Envelope[Any]] = []
        for number, one in enumerate(raw, 1):
            envelopes.append(_check(one, tenant))
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)
        outcomes = await self._bus.publish_many(
            [_outgoing(envelope) for envelope in envelopes],
            deadline_seconds=PUBLISH_DEADLINE_SECONDS,
        )
        results = list(zip(raw, envelopes, outcomes, strict=True))
        return Intake(
            safe_ids=tuple(envelope.id for _, envelope, error in results if error is None),
            errors=tuple(_failure(one, error) for one, _, error in results if error is not None),
        )


def _check(raw: RawEvent, tenant: str) -> Envelope[Any]:
    event = raw.event
    if event.setdefault("tenant", tenant) != tenant:
        raise moved(ProblemError(WRONG_TENANT), raw.place)
    try:
        return validate_plant_event(event)
    except ProblemError as error:
        raise moved(error, raw.place) from None


def _outgoing(envelope: Envelope[Any]) -> Outgoing:
    if tracing.parse(envelope.traceparent) is None:
        envelope = envelope.model_copy(update={"traceparent": None, "tracestate": None})
    envelope = tracing.publish(envelope, PLANT_INGRESS.name, envelope.priority)
    headers: dict[str, str | int] = {"tenant": envelope.tenant}
    if envelope.traceparent is not None:
        headers["traceparent"] = envelope.traceparent
    return Outgoing(
        exchange=PLANT_INGRESS.name,
        routing_key=envelope.priority,
        type=envelope.type,
        message_id=envelope.id,
        body=envelope.to_json(),
        headers=headers,
        priority=envelope.priority,
        app_id=SOURCE,
    )


def _failure(raw: RawEvent, error: PublishError) -> FieldProblem:
    unknown = isinstance(error, OutcomeUnknownError)
    return FieldProblem(
        pointer="".join(f"/{part}" for part in raw.place),
        code="outcome_unknown" if unknown else "not_accepted",
        message="may or may not have been accepted" if unknown else "was not accepted",
    )


WRONG_TENANT = Problem(
    code="wrong_tenant",
    title="The key belongs to another tenant",
    detail="An event's tenant must be that of the key.",
    status=403,
    errors=(
        FieldProblem(
            pointer="/tenant", code="wrong_tenant", message="must be the tenant of the key"
        ),
    ),
)
