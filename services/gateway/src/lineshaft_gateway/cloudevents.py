"""The HTTP binding of CloudEvents 1.0: binary, structured and batch mode, read into events.

Source: CloudEvents HTTP Protocol Binding 1.0.2. Plain `application/json` without `ce-` fields is
taken as structured mode, for clients that cannot set the media type.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from lineshaft_contracts.door import invalid_event, parse_batch, parse_structured
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError

from lineshaft_gateway.json_input import parse

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
JSON = "application/json"
MEDIA_TYPES = (STRUCTURED, BATCH, JSON)
EVENTS_MAX = 500
FIELD_PREFIX = "ce-"
NUMBERS = frozenset({"severity"})
"""Attributes that are integers, which a header field can only write as text."""


@dataclass(frozen=True, kw_only=True)
class RawEvent:
    """One event as it was sent, its attributes not checked yet."""

    event: dict[str, Any]
    place: tuple[int, ...] = ()
    """Where it stands in the body: its index in a batch, else empty."""


def read_events(headers: Mapping[str, str], media_type: str, body: bytes) -> list[RawEvent]:
    """Read all events of a request; raises ProblemError."""
    media_type = media_type.lower()
    fields = {name.lower(): value for name, value in headers.items()}
    binary = any(name.startswith(FIELD_PREFIX) for name in fields)
    if media_type == BATCH:
        bodies = parse_batch(body, events_max=EVENTS_MAX)
        return [_of_batch(index, one) for index, one in enumerate(bodies)]
    if media_type == STRUCTURED or (media_type == JSON and not binary):
        return [RawEvent(event=parse_structured(body))]
    if media_type == JSON:
        return [RawEvent(event=_binary(fields, body))]
    raise ProblemError(UNSUPPORTED)


def moved(error: ProblemError, place: tuple[int, ...]) -> ProblemError:
    """Tell of an event's problem from the root of the body."""
    if not place:
        return error
    root = f"/{place[0]}"
    problem = error.problem
    errors = tuple(
        one.model_copy(update={"pointer": f"{root}{one.pointer}"}) for one in problem.errors
    ) or (FieldProblem(pointer=root, code=problem.code, message=problem.detail or problem.title),)
    return ProblemError(problem.model_copy(update={"errors": errors}))


def _of_batch(index: int, body: bytes) -> RawEvent:
    try:
        return RawEvent(event=parse_structured(body), place=(index,))
    except ProblemError as error:
        raise moved(error, (index,)) from None


def _binary(fields: Mapping[str, str], body: bytes) -> dict[str, Any]:
    event: dict[str, Any] = {"datacontenttype": JSON}
    for field, value in fields.items():
        if field.startswith(FIELD_PREFIX):
            name = field.removeprefix(FIELD_PREFIX)
            event[name] = _value(name, value)
    # W3C trace context travels in its own field; as an attribute it names where the event began.
    event["data"] = parse(body)
    return event


def _value(name: str, text: str) -> str | int:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    try:
        text = unquote(text, errors="strict")
        text.encode()
    except (UnicodeDecodeError, UnicodeEncodeError):
        message = "is not percent-encoded UTF-8"
        raise invalid_event(
            [FieldProblem(pointer=f"/{name}", code="encoding", message=message)]
        ) from None
    if name in NUMBERS and text.isascii() and text.isdecimal() and len(text) < 10:
        return int(text)
    return text


UNSUPPORTED = Problem(
    code="unsupported_media_type",
    title="The body has the wrong media type",
    detail=f"Content-Type must be {', '.join(MEDIA_TYPES[:-1])} or {MEDIA_TYPES[-1]}",
    status=415,
)
