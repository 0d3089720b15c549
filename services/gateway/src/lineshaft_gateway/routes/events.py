"""`POST /api/events`: plant events in, by the HTTP binding of CloudEvents."""

from collections.abc import Callable
from typing import Any

from aiohttp import web
from lineshaft_common.http import problem_response
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.registry import contracts
from pydantic import BaseModel
from pydantic_core import from_json, to_json

from lineshaft_gateway.cloudevents import EVENTS_MAX, MEDIA_TYPES, read_events
from lineshaft_gateway.event_intake import EventDesk
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer
from lineshaft_gateway.routes.guard import read_bytes


class EventsAccepted(BaseModel):
    """The broker has all events safely; the event-router publishes each once."""

    accepted: int
    ids: tuple[str, ...]


class EventRoutes:
    """Handlers."""

    def __init__(self, desk: EventDesk, *, body_bytes_max: int) -> None:
        self._desk = desk
        self._body_bytes_max = body_bytes_max

    async def take(self, call: Call) -> web.Response:
        """202 when the broker has all; 503 naming those that it has otherwise."""
        body = await read_bytes(call.request, self._body_bytes_max)
        events = read_events(call.request.headers, call.request.content_type, body)
        intake = await self._desk.take(events, tenant=call.principal.tenant)
        if intake.complete:
            accepted = EventsAccepted(accepted=len(intake.safe_ids), ids=intake.safe_ids)
            return json_answer(accepted, status=202)
        problem = problem_response(intake.problem())
        body = from_json(problem.text or "{}")
        problem.body = to_json({**body, "safe_ids": intake.safe_ids})
        return problem

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="sendEvents",
                method="POST",
                path="/api/events",
                tag="Events",
                summary="Send plant events",
                description=(
                    "CloudEvents 1.0 in structured, batch or binary mode (`ce-` fields). All "
                    f"events of a request are accepted or none; at most {EVENTS_MAX} in a batch. "
                    "`tenant` is that of the key when it is left out. Idempotent by source and "
                    "id. When the broker took only some, the 503 problem lists them in "
                    "`safe_ids`; sending all again is harmless."
                ),
                handle=self.take,
                scope=Scope.EVENTS_WRITE,
                reads_body=False,
                body=Envelope[Any],
                body_schema=event_schema,
                body_types=MEDIA_TYPES,
                answers=(Answer(status=202, description="Accepted", model=EventsAccepted),),
                problems={
                    403: "wrong_tenant",
                    413: "event_too_large, batch_too_large",
                    415: "unsupported_media_type",
                    422: "invalid_event, unknown_event_type",
                    503: "events_not_accepted",
                },
                example={
                    "specversion": "1.0",
                    "id": "0199d8f2-0000-7000-8000-000000000001",
                    "source": "/acme/hamburg/assembly/line-3/press-1",
                    "type": "plant.resource.state-changed.v1",
                    "time": "2026-11-25T06:00:00Z",
                    "data": {"state": "running", "previous_state": "setup"},
                },
            ),
        )


def event_schema(reference: Callable[[type[BaseModel]], str]) -> dict[str, Any]:
    """Write the envelope, with a condition on `data` for each type that plants may send."""
    external = [one for one in contracts().values() if one.external]
    return {
        "type": "object",
        "required": ["specversion", "id", "source", "type", "time", "data"],
        "properties": {
            **envelope_properties(),
            "type": {"type": "string", "enum": [one.type for one in external]},
            "data": {"type": "object"},
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": one.type}}},
                "then": {"properties": {"data": {"$ref": reference(one.model)}}},
            }
            for one in external
        ],
    }


def envelope_properties() -> dict[str, Any]:
    """Write the CloudEvents attributes that an event may carry."""
    text = {"type": "string"}
    moment = {"type": "string", "format": "date-time"}
    return {
        "specversion": {"const": "1.0"},
        "id": {**text, "minLength": 1, "maxLength": 128},
        "source": {
            **text,
            "maxLength": 255,
            "description": "Equipment path: /tenant[/site[/area[/workcenter[/workunit]]]].",
        },
        "subject": {**text, "minLength": 1, "maxLength": 255},
        "time": {**moment, "description": "When it happened."},
        "datacontenttype": {"const": "application/json"},
        "tenant": {**text, "pattern": "^[a-z0-9_-]{1,32}$"},
        "priority": {"enum": ["critical", "high", "normal", "low"], "default": "normal"},
        "partitionkey": {**text, "minLength": 1, "maxLength": 255},
        "sequence": text,
        "expirytime": moment,
        "severity": {"type": "integer", "minimum": 1, "maximum": 1000},
        "correlationid": {**text, "maxLength": 128},
        "causationid": {**text, "maxLength": 128},
        "recordedtime": moment,
        "dataref": text,
        "traceparent": {**text, "maxLength": 64},
        "tracestate": {**text, "maxLength": 512},
    }
