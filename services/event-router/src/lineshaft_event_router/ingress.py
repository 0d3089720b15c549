"""The way in for plant events: checked at the door, recorded once, passed on in order."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from lineshaft_common import tracing
from lineshaft_common.messaging import Delivery
from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import Problem, ProblemError
from opentelemetry import trace
from prometheus_client import Counter

from lineshaft_event_router.turnstile import Turnstile

ACCEPTED = Counter("lineshaft_events_accepted_total", "Plant events accepted", ["type", "lane"])
REPEATED = Counter("lineshaft_events_repeated_total", "Plant events that had been accepted before")
REFUSED = Counter("lineshaft_events_refused_total", "Plant events put in quarantine", ["code"])


class Store(Protocol):
    """Where accepted events are recorded; see store.py."""

    async def accept(self, envelopes: Sequence[Envelope[Any]]) -> int:
        """Record events and pass them on; how many were new."""
        ...


class Ingress:
    """Takes what anybody who may write to the ingress put there; trusts none of it.

    Idempotent by (tenant, source, id). The message is acknowledged after the commit, and the
    commit holds both the record and the message that passes the event on: a crash at any point
    loses nothing, and passes on no event under two ids.
    """

    def __init__(self, store: Store, turnstile: Turnstile) -> None:
        self._store = store
        self._turnstile = turnstile

    async def take(self, lane: str, deliveries: Sequence[Delivery[Any]]) -> None:
        """Take a batch of one priority lane; what does not pass is quarantined with its reason."""
        envelopes = list[Envelope[Any]]()
        for delivery in deliveries:
            try:
                envelopes.append(self._checked(delivery))
            except ProblemError as error:
                refuse(delivery, error.problem)
        if not envelopes:
            return
        async with self._turnstile.turn(lane):
            new = await self._store.accept(envelopes)
        REPEATED.inc(len(envelopes) - new)
        for envelope in envelopes:
            ACCEPTED.labels(envelope.type, lane).inc()

    @staticmethod
    def _checked(delivery: Delivery[Any]) -> Envelope[Any]:
        """Read an event; it is heard now, and goes on in the trace of whoever sent it."""
        envelope = validate_plant_event(delivery.body)
        sender = trace.get_current_span(delivery.context)
        return envelope.model_copy(
            update={
                "recordedtime": datetime.now(UTC),
                "traceparent": tracing.traceparent_of(sender) or envelope.traceparent,
            }
        )


def refuse(delivery: Delivery[Any], problem: Problem) -> None:
    """Put an event in quarantine, with what is wrong with which field."""
    REFUSED.labels(problem.code).inc()
    fields = "; ".join(f"{e.pointer}: {e.message}" for e in problem.errors[:10])
    delivery.park(problem.code, f"{problem.title}. {problem.detail} {fields}".strip())
