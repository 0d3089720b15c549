"""JSON Schema of every message, for readers in other languages."""

from inspect import cleandoc
from typing import Any

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from lineshaft_contracts.envelope import Envelope, Unregistered
from lineshaft_contracts.registry import Contract, contracts

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ENVELOPE = "envelope.v1.json"


class WithoutTitles(GenerateJsonSchema):
    """Leaves out the titles that only repeat a field's name."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: D102
        del schema
        return False


def envelope_schema() -> dict[str, Any]:
    """Return the schema of the attributes that all messages share."""
    schema = TypeAdapter(Envelope[Unregistered]).json_schema(schema_generator=WithoutTitles)
    definitions = schema["$defs"]
    del definitions["Unregistered"]
    schema["properties"]["data"] = {"type": "object"}
    fields: dict[str, FieldInfo] = Envelope.model_fields
    optional = [name for name, field in fields.items() if not field.is_required()]
    required = [name for name in fields if name not in optional]
    return {
        "$schema": DIALECT,
        "$id": ENVELOPE,
        "title": "Envelope",
        "description": cleandoc(Envelope.__doc__ or ""),
        "type": "object",
        "properties": schema["properties"],
        "required": ["specversion", *required],
        "$defs": definitions,
    }


def message_schema(contract: Contract) -> dict[str, Any]:
    """Return the schema of one message: the envelope, narrowed to its type and data."""
    data = contract.model.model_json_schema(schema_generator=WithoutTitles)
    definitions = data.pop("$defs", {})
    name = contract.model.__name__
    return {
        "$schema": DIALECT,
        "$id": f"{contract.type}.json",
        "title": name,
        "description": data.get("description", ""),
        "x-lineshaft": _facts(contract),
        "allOf": [{"$ref": ENVELOPE}],
        "type": "object",
        "properties": {
            "type": {"const": contract.type},
            "data": {"$ref": f"#/$defs/{name}"},
        },
        "required": ["type", "data"],
        "$defs": dict(sorted({**definitions, name: data}.items())),
    }


def _facts(contract: Contract) -> dict[str, Any]:
    lifetime = contract.time_to_live
    return {
        "kind": contract.kind.value,
        "owner": contract.owner,
        "exchange": contract.exchange.name if contract.exchange else None,
        "since": contract.since,
        "external": contract.external,
        "durable": contract.durable,
        "time_to_live_seconds": lifetime.total_seconds() if lifetime else None,
    }


def all_schemas() -> dict[str, dict[str, Any]]:
    """Return every schema by its file name."""
    named = {f"{type_}.json": message_schema(found) for type_, found in contracts().items()}
    return {ENVELOPE: envelope_schema(), **named}
