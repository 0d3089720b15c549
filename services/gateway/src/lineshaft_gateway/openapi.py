"""The OpenAPI 3.1 document of the API, made from the route table and the models it names."""

from collections.abc import Sequence
from typing import Any, Literal, cast

from lineshaft_contracts.problems import FieldProblem
from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from lineshaft_gateway.cloudevents import BATCH, EVENTS_MAX
from lineshaft_gateway.operations import Answer, Operation, Parameter

TEMPLATE = "#/components/schemas/{model}"
Mode = Literal["validation", "serialization"]

DESCRIPTION = """\
The one HTTP API of Lineshaft. Send a key as `Authorization: Bearer lsk_...`; it belongs to a
tenant, and nothing of another tenant is there for it. Errors are `application/problem+json`
with a stable `code`, a JSON Pointer to each wrong field (query parameters as `/query/...`), and
the trace id. Every answer carries `X-Request-Id`, the trace to ask about."""

TAGS = {
    "Jobs": "Long work: submitted once, run durably, with progress and artifacts.",
    "Events": "What happens in the plant and in the platform, in and out.",
    "Plant": "The present state of orders, lots, quality alerts and equipment.",
    "System": "How the system and the edge are doing.",
    "Keys": "Who may do what.",
    "API": "About this API itself.",
}

COMMON_PROBLEMS = {
    400: "Malformed request",
    401: "No valid key",
    403: "Not allowed",
    404: "Not there",
    408: "The body did not arrive in time",
    409: "Contradicts the present state",
    410: "No longer kept",
    412: "Precondition not met",
    413: "Too large",
    415: "Wrong media type",
    416: "No such range",
    422: "A field is not valid",
    429: "Too many requests",
    503: "A service or the broker is away; try again",
}


class ProblemDetails(BaseModel):
    """RFC 9457 problem details; some problems carry more."""

    type: str
    code: str
    title: str
    status: int
    detail: str = ""
    errors: tuple[FieldProblem, ...] = ()
    trace_id: str = Field(default="", pattern="^([0-9a-f]{32})?$")


def document(operations: Sequence[Operation], *, version: str) -> dict[str, Any]:
    """Write the document; the same table always gives the same one."""
    schemas = _Schemas(operations)
    paths: dict[str, dict[str, Any]] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {})
        path[operation.method.lower()] = _operation(operation, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lineshaft",
            "version": version,
            "summary": "Jobs, plant events, system status and edge for manufacturing platforms",
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.definitions,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "lsk_<prefix>_<secret>",
                }
            },
        },
    }


class _Schemas:
    """All models of the table as named schemas, and references to them."""

    def __init__(self, operations: Sequence[Operation]) -> None:
        wanted: dict[tuple[type[BaseModel], Mode], None] = {
            (ProblemDetails, "serialization"): None
        }
        for operation in operations:
            if operation.body_schema is not None:
                operation.body_schema(lambda model: self._note(wanted, model))
            elif operation.body is not None:
                wanted[operation.body, "validation"] = None
            for answer in operation.answers:
                if answer.model is not None:
                    wanted[answer.model, "serialization"] = None
        references, schema = models_json_schema(list(wanted), ref_template=TEMPLATE)
        self._references = references
        self.definitions: dict[str, Any] = dict(sorted(schema["$defs"].items()))

    @staticmethod
    def _note(wanted: dict[tuple[type[BaseModel], Mode], None], model: type[BaseModel]) -> str:
        wanted[model, "validation"] = None
        return ""

    def body(self, model: type[BaseModel]) -> str:
        """Refer to what a client sends."""
        return self._references[model, "validation"]["$ref"]

    def answer(self, model: type[BaseModel]) -> dict[str, Any]:
        """Refer to what a client gets."""
        return dict(self._references[model, "serialization"])


def _operation(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    written: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.description:
        written["description"] = operation.description
    if operation.scope is None:
        written["security"] = []
    else:
        written["security"] = [{"key": []}]
        written["x-scope"] = operation.scope.value
    parameters = [*map(_parameter, operation.parameters), *_query(operation.query)]
    if parameters:
        written["parameters"] = parameters
    if operation.body is not None:
        written["requestBody"] = {"required": True, "content": _body(operation, schemas)}
    written["responses"] = {**_answers(operation, schemas), **_problems(operation, schemas)}
    return written


def _parameter(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _query(model: type[BaseModel] | None) -> list[dict[str, Any]]:
    if model is None:
        return []
    schema = model.model_json_schema(ref_template=TEMPLATE)
    definitions = schema.get("$defs", {})
    written: list[dict[str, Any]] = []
    for name, found in schema["properties"].items():
        field = _inlined(found, definitions)
        parameter = {"name": name, "in": "query", "required": name in schema.get("required", ())}
        description = field.pop("description", None)
        if description is not None:
            parameter["description"] = description
        field.pop("title", None)
        written.append({**parameter, "schema": field})
    return written


def _inlined(schema: Any, definitions: dict[str, Any]) -> Any:
    """Replace references by what they refer to; query models refer to flat enumerations only."""
    if isinstance(schema, list):
        return [_inlined(item, definitions) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    fields = cast("dict[str, Any]", schema)
    inlined = {name: _inlined(value, definitions) for name, value in fields.items()}
    if "$ref" in inlined:
        name = inlined.pop("$ref").rsplit("/", 1)[-1]
        return {**_inlined(definitions[name], definitions), **inlined}
    return inlined


def _body(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    assert operation.body is not None  # noqa: S101 - the caller has looked.
    if operation.body_schema is not None:
        schema = operation.body_schema(schemas.body)
    else:
        schema = {"$ref": schemas.body(operation.body)}
    content: dict[str, Any] = {}
    for media_type in operation.body_types:
        if media_type == BATCH:
            content[media_type] = {
                "schema": {"type": "array", "items": schema, "maxItems": EVENTS_MAX}
            }
        else:
            content[media_type] = {"schema": schema}
            if operation.example is not None:
                content[media_type]["example"] = operation.example
    return content


def _answers(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for answer in operation.answers:
        status = str(answer.status)
        if status in written:
            written[status] = _either(written[status], _answer(answer, schemas))
        else:
            written[status] = _answer(answer, schemas)
    return written


def _answer(answer: Answer, schemas: _Schemas) -> dict[str, Any]:
    written: dict[str, Any] = {"description": answer.description}
    if answer.headers:
        written["headers"] = {
            name: {"description": text, "schema": {"type": "string"}}
            for name, text in answer.headers.items()
        }
    if answer.model is not None:
        written["content"] = {answer.media_type: {"schema": schemas.answer(answer.model)}}
    elif answer.status not in {204, 304}:
        written["content"] = {answer.media_type: {"schema": {}}}
    return written


def _either(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    media_type = next(iter(first["content"]))
    schemas = [one["content"][media_type]["schema"] for one in (first, second)]
    return {
        "description": f"{first['description']}. {second['description']}",
        "content": {media_type: {"schema": {"anyOf": schemas}}},
    }


def _problems(operation: Operation, schemas: _Schemas) -> dict[str, Any]:
    statuses = dict(operation.problems)
    if operation.scope is not None:
        statuses.setdefault(401, "unauthorized")
        own = f", {statuses[403]}" if 403 in statuses else ""
        statuses[403] = f"missing_scope{own}"
        statuses.setdefault(429, "too_many_requests")
        statuses.setdefault(503, "service_unavailable, broker_unavailable")
    if operation.query is not None:
        statuses.setdefault(422, "invalid_input")
    if operation.body is not None:
        statuses.setdefault(400, "invalid_json")
        statuses.setdefault(413, "body_too_large")
        statuses.setdefault(415, "unsupported_media_type")
        statuses.setdefault(422, "invalid_input")
    answered = {answer.status for answer in operation.answers}
    schema = schemas.answer(ProblemDetails)
    return {
        str(status): {
            "description": f"{COMMON_PROBLEMS[status]}. Codes: {codes}",
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status, codes in sorted(statuses.items())
        if status not in answered
    }
