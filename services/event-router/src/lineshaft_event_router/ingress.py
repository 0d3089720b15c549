"""The way in for plant events: checked at the door, recorded once, passed on in order."""

from collections import Counter as Counts
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from lineshaft_common import tracing
from lineshaft_common.messaging import Delivery
from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import ProblemError
from opentelemetry import trace
from prometheus_client import Counter

from lineshaft_event_router.refusal import Refusal, refusal
from lineshaft_event_router.turnstile import Turnstile

ACCEPTED = Counter("lineshaft_events_accepted_total", "Plant events accepted", ["type", "lane"])
REPEATED = Counter("lineshaft_events_repeated_total", "Plant events that had been accepted before")
REFUSED = Counter("lineshaft_events_refused_total", "Plant events put in quarantine", ["code"])


class Inbox(Protocol):
    """Where accepted events are recorded; see store.py."""

    async def accept(self, envelopes: Sequence[Envelope[Any]]) -> Sequence[Envelope[Any]]:
        """Record events and pass them on in order; those of them that were new."""
        ...


class Quarantine(Protocol):
    """Where people look up what was refused; see store.py."""

    async def record(self, refusals: Sequence[Refusal]) -> None:
        """Keep them, and forget the oldest ones."""
        ...


class Ingress:
    """Takes what anybody who may write to the ingress put there; trusts none of it.

    Idempotent by (tenant, source, id). The message is acknowledged after the commit, and the
    commit holds both the record and the message that passes the event on: a crash at any point
    loses nothing, and passes on no event under two ids.
    """

    def __init__(self, inbox: Inbox, quarantine: Quarantine, turnstile: Turnstile) -> None:
        self._inbox = inbox
        self._quarantine = quarantine
        self._turnstile = turnstile

    async def take(self, lane: str, deliveries: Sequence[Delivery[Any]]) -> None:
        """Take a batch of one priority lane; what does not pass is quarantined with its reason.

        Every event is counted as one of accepted, repeated or refused. When the store fails the
        batch comes again, and what was recorded of it by then is counted as repeated too.
        """
        envelopes = list[Envelope[Any]]()
        refused = list[tuple[Delivery[Any], Refusal]]()
        for delivery in deliveries:
            try:
                envelopes.append(_checked(delivery))
            except ProblemError as error:
                refused.append((delivery, refusal(lane, delivery, error.problem)))
        taken = 0
        while taken < len(envelopes):
            async with self._turnstile.turn(lane) as events_max:
                part = envelopes[taken : taken + events_max]
                accepted = await self._inbox.accept(part)
            taken += len(part)
            REPEATED.inc(len(part) - len(accepted))
            for type_, count in Counts(envelope.type for envelope in accepted).items():
                ACCEPTED.labels(type_, lane).inc(count)
        if refused:
            await self._quarantine.record([why for _, why in refused])
        for delivery, why in refused:
            REFUSED.labels(why.problem.code).inc()
            delivery.park(why.problem.code, why.reason)


def _checked(delivery: Delivery[Any]) -> Envelope[Any]:
    """Read an event; it is heard now, and goes on in the trace of whoever sent it.

    The message's headers say more about the trace than its body, which an application may have
    stored before it was sent; what is no trace context at all is not passed on.
    """
    envelope = validate_plant_event(delivery.body)
    sender = trace.get_current_span(delivery.context)
    if not sender.get_span_context().is_valid:
        carried = tracing.extract(envelope.traceparent, envelope.tracestate)
        sender = trace.get_current_span(carried)
    return envelope.model_copy(
        update={
            "recordedtime": datetime.now(UTC),
            "traceparent": tracing.traceparent_of(sender),
            "tracestate": sender.get_span_context().trace_state.to_header() or None,
        }
    )
