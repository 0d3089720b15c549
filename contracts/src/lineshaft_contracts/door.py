"""The door for plant events: what the platform accepts from writers outside it.

The same check stands behind `POST /api/events` and behind the AMQP ingress. It is closed, where
consumers are open: unknown fields of the data, unknown words and loose types are refused with a
JSON Pointer to each, so that a typing error is seen by whoever made it. Extension attributes of
CloudEvents that we do not know are dropped.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from pydantic import JsonValue, TypeAdapter, ValidationError
from pydantic_core import from_json, to_json

from lineshaft_contracts.envelope import Envelope, EquipmentPath
from lineshaft_contracts.plant import AT_THE_DOOR
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, pointer
from lineshaft_contracts.registry import Contract, UnknownTypeError, envelope_adapter, find

EVENT_BYTES_MAX = 256 * 1024
BATCH_EVENTS_MAX = 100
DEPTH_MAX = 16
TEXT_MAX = 255
ID_BYTES_MAX = 255
"""What AMQP's message_id holds, in UTF-8."""
FUTURE_MAX = timedelta(minutes=5)
"""How far a publisher's clock may be ahead of ours."""
REQUIRED_ATTRIBUTES = ("specversion", "id", "source", "type", "time", "tenant", "data")
ERRORS_MAX = 50

_OBJECT = TypeAdapter(dict[str, JsonValue])


def validate_plant_event(raw: Mapping[str, Any] | bytes) -> Envelope[Any]:
    """Read one structured-mode CloudEvent that an outside writer sent, or refuse it.

    Raises ProblemError with code `event_too_large` (413), `unknown_event_type` or
    `invalid_event` (422). Pointers are from the root of the event. The caller has still to
    check that the writer may speak for `tenant`.
    """
    body = raw if isinstance(raw, bytes) else _write(raw)
    event = parse_structured(body)
    errors = [*_attributes(event), *_strings(event, ())]
    if errors:
        raise invalid_event(errors)
    contract = _external(event["type"])
    known = {name: value for name, value in event.items() if name in Envelope.model_fields}
    try:
        envelope = envelope_adapter(contract.model).validate_json(
            body if len(known) == len(event) else to_json(known),
            strict=True,
            extra="forbid",
            context=AT_THE_DOOR,
        )
    except ValidationError as error:
        raise invalid_event(_fields(error)) from None
    errors = list(_judged(envelope))
    if errors:
        raise invalid_event(errors)
    return envelope


def parse_structured(body: bytes) -> dict[str, Any]:
    """Read the JSON object of one structured-mode event; its fields are not checked yet."""
    if len(body) > EVENT_BYTES_MAX:
        raise ProblemError(
            Problem(
                code="event_too_large",
                title="The event is too large",
                detail=f"{len(body)} bytes; at most {EVENT_BYTES_MAX} are accepted",
                status=413,
            )
        )
    event = _parse(body)
    if not isinstance(event, dict):
        raise invalid_event([_problem("", "not_an_object", "an event is a JSON object")])
    return _OBJECT.validate_python(event)


def parse_batch(body: bytes, *, events_max: int = BATCH_EVENTS_MAX) -> list[bytes]:
    """Split a JSON batch (application/cloudevents-batch+json) into one body per event."""
    events = _parse(body)
    if not isinstance(events, list):
        raise invalid_event([_problem("", "not_an_array", "a batch is a JSON array of events")])
    listed = cast("list[Any]", events)
    if len(listed) > events_max:
        raise ProblemError(
            Problem(
                code="batch_too_large",
                title="The batch has too many events",
                detail=f"{len(listed)} events; at most {events_max} are accepted",
                status=413,
            )
        )
    return [to_json(event) for event in listed]


def invalid_event(errors: list[FieldProblem]) -> ProblemError:
    """Make the 422 problem of these errors; input values are not echoed."""
    return ProblemError(
        Problem(
            code="invalid_event",
            title="The event is not valid",
            detail=f"{len(errors)} field(s) need attention",
            status=422,
            errors=tuple(errors[:ERRORS_MAX]),
        )
    )


def _problem(path: str, code: str, message: str) -> FieldProblem:
    return FieldProblem(pointer=path, code=code, message=message)


def _parse(body: bytes) -> Any:
    try:
        return from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise invalid_event([_problem("", "invalid_json", str(error)[:200])]) from None


def _write(raw: Mapping[str, Any]) -> bytes:
    try:
        return to_json(dict(raw), inf_nan_mode="constants")
    except ValueError as error:
        raise invalid_event([_problem("", "invalid_json", str(error)[:200])]) from None


def _attributes(event: dict[str, Any]) -> Iterator[FieldProblem]:
    for name in REQUIRED_ATTRIBUTES:
        if name not in event:
            yield _problem(f"/{name}", "missing", "Field required")
    for name in ("time", "type"):
        if name in event and not isinstance(event[name], str):
            yield _problem(f"/{name}", "string_type", "Input should be a valid string")


def _strings(value: Any, path: tuple[int | str, ...]) -> Iterator[FieldProblem]:
    """Refuse what PostgreSQL cannot store (NUL) and what nobody needs (deep nesting)."""
    if len(path) > DEPTH_MAX:
        yield _problem(pointer(path), "too_deep", f"at most {DEPTH_MAX} levels are accepted")
    elif isinstance(value, str):
        if "\0" in value:
            yield _problem(pointer(path), "nul_character", "NUL characters are not accepted")
    elif isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        for name, field in fields.items():
            if "\0" in name:
                yield _problem(pointer(path), "nul_character", "NUL in a name is not accepted")
            yield from _strings(field, (*path, name))
    elif isinstance(value, list):
        items = cast("list[Any]", value)
        for index, item in enumerate(items):
            yield from _strings(item, (*path, index))


def _external(type_: str) -> Contract:
    try:
        contract = find(type_)
    except UnknownTypeError:
        contract = None
    if contract is None or not contract.external:
        error = _problem("/type", "unknown_event_type", "no such event is accepted from outside")
        raise ProblemError(
            Problem(
                code="unknown_event_type",
                title="The event's type is not known",
                detail=f"{type_[:128]!r} is no event that plants may send",
                status=422,
                errors=(error,),
            )
        )
    return contract


def _fields(error: ValidationError) -> list[FieldProblem]:
    return [
        _problem(pointer(one["loc"]), one["type"], one["msg"])
        for one in error.errors(include_url=False, include_context=False, include_input=False)
    ]


def _judged(envelope: Envelope[Any]) -> Iterator[FieldProblem]:
    try:
        path = EquipmentPath(envelope.source)
    except ValueError as error:
        yield _problem("/source", "equipment_path", str(error))
    else:
        if path.tenant != envelope.tenant:
            yield _problem("/source", "tenant_mismatch", "must begin with the event's tenant")
    if envelope.tenant.startswith("_"):
        yield _problem("/tenant", "reserved", "names that begin with _ belong to the platform")
    for name in ("id", "subject", "sequence", "dataref", "partitionkey"):
        text: str = getattr(envelope, name) or ""
        if not text.isprintable():
            yield _problem(f"/{name}", "control_character", "control characters are not accepted")
        if len(text) > TEXT_MAX:
            yield _problem(f"/{name}", "string_too_long", f"at most {TEXT_MAX} characters")
    if len(envelope.id.encode()) > ID_BYTES_MAX:
        yield _problem("/id", "string_too_long", f"at most {ID_BYTES_MAX} bytes of UTF-8")
    if envelope.time > datetime.now(UTC) + FUTURE_MAX:
        yield _problem("/time", "time_in_future", f"is more than {FUTURE_MAX} ahead of our clock")
