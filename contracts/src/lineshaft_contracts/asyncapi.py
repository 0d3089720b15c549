"""The AsyncAPI 3.0 document of everything that travels over RabbitMQ."""

from typing import Any, cast

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from lineshaft_contracts import __doc__ as purpose
from lineshaft_contracts.definitions import VHOST
from lineshaft_contracts.envelope import Asking, Envelope, Message, Unregistered
from lineshaft_contracts.registry import Contract, Kind, contracts
from lineshaft_contracts.schemas import WithoutTitles
from lineshaft_contracts.topology import Exchange

CONTENT_TYPE = "application/cloudevents+json"
REPLIES = "replies"
MODE: JsonSchemaMode = "validation"


def document() -> dict[str, Any]:
    """Return the document; what the platform sends and receives is said from its own side."""
    schemas, names = _schemas()
    found = contracts().values()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Lineshaft messages",
            "version": "0.1.0",
            "description": purpose,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": CONTENT_TYPE,
        "servers": {
            "rabbitmq": {"host": "localhost:5672", "protocol": "amqp", "pathname": f"/{VHOST}"}
        },
        "channels": _channels(list(found)),
        "operations": {
            _key(one.type): _operation(one) for one in found if one.kind is not Kind.REPLY
        },
        "components": {
            "messages": {_key(one.type): _message(one, names[one.model]) for one in found},
            "schemas": schemas,
        },
    }


def _key(name: str) -> str:
    return name.replace(".", "-")


def _schemas() -> tuple[dict[str, Any], dict[type[Message], str]]:
    models = [contract.model for contract in contracts().values()]
    envelope: Any = Envelope[Unregistered]
    mapping, generated = models_json_schema(
        [*((model, MODE) for model in models), (envelope, MODE)],
        ref_template="#/components/schemas/{model}",
        schema_generator=WithoutTitles,
    )
    schemas: dict[str, Any] = generated["$defs"]
    name = mapping[envelope, MODE]["$ref"].rpartition("/")[2]
    schemas["Envelope"] = schemas.pop(name)
    schemas["Envelope"]["title"] = "Envelope"
    schemas["Envelope"]["properties"]["data"] = {"type": "object"}
    names = {model: mapping[model, MODE]["$ref"].rpartition("/")[2] for model in models}
    return _without_discriminators(dict(sorted(schemas.items()))), names


def _without_discriminators(schema: Any) -> Any:
    """Drop OpenAPI's discriminator objects: AsyncAPI's keyword of that name is another one."""
    if isinstance(schema, dict):
        fields = cast("dict[str, Any]", schema)
        return {
            name: _without_discriminators(part)
            for name, part in fields.items()
            if not (name == "discriminator" and isinstance(part, dict) and "propertyName" in part)
        }
    if isinstance(schema, list):
        parts = cast("list[Any]", schema)
        return [_without_discriminators(part) for part in parts]
    return schema


def _message(contract: Contract, schema_name: str) -> dict[str, Any]:
    return {
        "name": contract.type,
        "title": contract.model.__name__,
        "summary": (contract.model.__doc__ or "").partition("\n")[0],
        "contentType": CONTENT_TYPE,
        "tags": [{"name": contract.kind.value}, {"name": f"owner:{contract.owner}"}],
        "payload": {
            "allOf": [{"$ref": "#/components/schemas/Envelope"}],
            "type": "object",
            "properties": {
                "type": {"const": contract.type},
                "data": {"$ref": f"#/components/schemas/{schema_name}"},
            },
            "required": ["type", "data"],
        },
    }


def _channels(found: list[Contract]) -> dict[str, Any]:
    channels: dict[str, Any] = {
        REPLIES: {
            "address": None,
            "description": "Direct reply-to: the answer goes to the asker's own pseudo-queue.",
            "messages": {},
        }
    }
    for contract in found:
        channel = _channel_of(contract)
        channels.setdefault(channel, _channel(contract.exchange))
        reference = {"$ref": f"#/components/messages/{_key(contract.type)}"}
        channels[channel]["messages"][_key(contract.type)] = reference
    return dict(sorted(channels.items()))


def _channel_of(contract: Contract) -> str:
    return _key(contract.exchange.name) if contract.exchange else REPLIES


def _channel(exchange: Exchange | None) -> dict[str, Any]:
    if exchange is None:
        return {"address": None, "messages": {}}
    return {
        "address": exchange.name,
        "description": f"The {exchange.type} exchange {exchange.name}.",
        "messages": {},
        "bindings": {
            "amqp": {
                "is": "routingKey",
                "exchange": {
                    "name": exchange.name,
                    "type": exchange.type,
                    "durable": True,
                    "autoDelete": False,
                    "vhost": VHOST,
                },
                "bindingVersion": "0.3.0",
            }
        },
    }


def _operation(contract: Contract) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "action": "send" if contract.kind is Kind.EVENT else "receive",
        "channel": {"$ref": f"#/channels/{_channel_of(contract)}"},
        "title": contract.model.__name__,
        "messages": [_message_of(contract)],
    }
    asking: Any = contract.model
    if issubclass(asking, Asking):
        operation["reply"] = {
            "address": {"location": "$message.header#/reply_to"},
            "channel": {"$ref": f"#/channels/{REPLIES}"},
            "messages": [
                {"$ref": f"#/channels/{REPLIES}/messages/{_key(reply)}"}
                for reply in sorted({asking.reply.type, "lineshaft.problem.v1"})
            ],
        }
    return operation


def _message_of(contract: Contract) -> dict[str, str]:
    return {"$ref": f"#/channels/{_channel_of(contract)}/messages/{_key(contract.type)}"}
