"""Questions to the event-router: what came in from the plants, and what was not let in."""

from typing import Annotated, Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Priority, Value
from lineshaft_contracts.problems import FieldProblem
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import EVENT_ROUTER_QUERIES


class _RouterQuery:
    """What the queries of this module share.

    A tenant is told of its own events; `_platform`, which owns what names no tenant, of all.
    """

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the event-router travel through one queue."""
        return "query"


def _query(name: str) -> Any:
    return message(
        f"lineshaft.routing.{name}.v1",
        kind=Kind.QUERY,
        owner="event-router",
        exchange=EVENT_ROUTER_QUERIES,
        durable=False,
    )


def _reply(name: str) -> Any:
    return message(f"lineshaft.routing.{name}.v1", kind=Kind.REPLY, owner="event-router")


class AcceptedEvents(Value):
    """Events of one type in one priority lane, counted since the first of them."""

    event_type: str
    priority: Priority
    accepted: int
    """Each (source, id) once, as long as the router remembers it."""
    repeated: int
    """Came again and were not passed on again."""
    first_accepted_at: Moment
    last_accepted_at: Moment


class RefusedEvents(Value):
    """Events that were refused for one reason, among those that are still listed."""

    code: str
    refused: int
    last_refused_at: Moment


@_reply("event-stats")
class EventStats(Message):
    """Answer to GetEventStats."""

    at: Moment
    accepted: int
    repeated: int
    refused: int
    """Among the latest refusals alone: see ListQuarantined."""
    last_accepted_at: Moment | None
    by_type: tuple[AcceptedEvents, ...]
    by_code: tuple[RefusedEvents, ...]


@_query("get-event-stats")
class GetEventStats(_RouterQuery, Asking[EventStats]):
    """How many events were accepted, repeated and refused."""


class QuarantinedEvent(Value):
    """An event that was refused; the message itself waits in the queue `plant.quarantine`.

    `event_id`, `source` and `event_type` are what the sender wrote, as far as it could be read.
    """

    refused_at: Moment
    lane: Priority
    tenant: str
    code: str
    detail: str
    errors: tuple[FieldProblem, ...]
    event_id: str | None
    source: str | None
    event_type: str | None
    body_bytes: int


@_reply("quarantine-page")
class QuarantinePage(Message):
    """Answer to ListQuarantined, latest first."""

    events: tuple[QuarantinedEvent, ...]
    next_cursor: str | None = None
    """Pass it as `cursor` for the page after this one; None when this is the last."""


@_query("list-quarantined")
class ListQuarantined(_RouterQuery, Asking[QuarantinePage]):
    """The latest refused events; the oldest are forgotten when there are many."""

    code: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None
