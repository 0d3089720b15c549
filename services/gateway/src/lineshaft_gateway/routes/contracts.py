"""`/api/contracts`: every message type, its JSON Schema, and the AsyncAPI document."""

import asyncio
from functools import lru_cache
from typing import Annotated

from aiohttp import web
from lineshaft_contracts import asyncapi
from lineshaft_contracts.message_catalogue import MessageType, catalogue
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.registry import Kind, contracts
from lineshaft_contracts.schemas import ENVELOPE, envelope_schema, message_schema
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import to_json

from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.answering import json_answer

SCHEMAS_CACHED_MAX = 64


class ContractsQuery(BaseModel):
    """Which message types to list; conditions are joined with AND."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    kind: Kind | None = None
    owner: Annotated[str, Field(max_length=64)] | None = None
    exchange: Annotated[str, Field(max_length=64)] | None = None


class ContractList(BaseModel):
    """Message types by name."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    asyncapi: str = "contracts/asyncapi.json"
    """The same as one AsyncAPI document, relative to this list."""
    contracts: tuple[MessageType, ...]


class ContractRoutes:
    """Handlers; documents are written in a thread when they are first asked for."""

    async def list_all(self, call: Call) -> web.Response:
        """List message types."""
        query: ContractsQuery = call.query
        found = await asyncio.to_thread(catalogue)
        wanted = tuple(
            one
            for one in found
            if query.kind in {None, one.kind}
            and query.owner in {None, one.owner}
            and query.exchange in {None, one.exchange}
        )
        return json_answer(ContractList(contracts=wanted))

    async def schema(self, call: Call) -> web.Response:
        """Send the JSON Schema of a message, or of the envelope around all."""
        name = call.request.match_info["name"]
        body = await asyncio.to_thread(_schema, name)
        if body is None:
            raise ProblemError(NOT_FOUND)
        return _document(body, "application/schema+json")

    async def asyncapi(self, call: Call) -> web.Response:
        """Send the AsyncAPI document."""
        return _document(await asyncio.to_thread(_asyncapi), "application/json")

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table; they need no key, like the OpenAPI document."""
        return (
            Operation(
                id="listContracts",
                method="GET",
                path="/api/contracts",
                tag="API",
                summary="List the message types",
                description=(
                    "Everything that travels over RabbitMQ: who publishes and who consumes it, "
                    "the exchange, the routing key, and a binding for a queue of your own."
                ),
                handle=self.list_all,
                query=ContractsQuery,
                answers=(Answer(status=200, description="Message types", model=ContractList),),
            ),
            Operation(
                id="getContractSchema",
                method="GET",
                path="/api/contracts/schemas/{name}",
                tag="API",
                summary="Read the schema of a message type",
                description=f"JSON Schema 2020-12; `{ENVELOPE}` is what all messages share.",
                handle=self.schema,
                parameters=(
                    Parameter(
                        name="name", place="path", description="The type, and `.json` after it."
                    ),
                ),
                answers=(
                    Answer(
                        status=200, description="The schema", media_type="application/schema+json"
                    ),
                ),
                problems={404: NOT_FOUND.code},
            ),
            Operation(
                id="getAsyncApi",
                method="GET",
                path="/api/contracts/asyncapi.json",
                tag="API",
                summary="Read all message types as one document",
                handle=self.asyncapi,
                answers=(Answer(status=200, description="AsyncAPI 3.0"),),
            ),
        )


def _document(body: bytes, content_type: str) -> web.Response:
    return web.Response(
        body=body, content_type=content_type, headers={"Cache-Control": "public, no-cache"}
    )


def _schema(name: str) -> bytes | None:
    """Return None for a name that is no schema's; only those that exist are kept."""
    known = name == ENVELOPE or (name.endswith(".json") and name[:-5] in contracts())
    return _written(name) if known else None


@lru_cache(maxsize=SCHEMAS_CACHED_MAX)
def _written(name: str) -> bytes:
    schema = envelope_schema() if name == ENVELOPE else message_schema(contracts()[name[:-5]])
    return to_json(schema)


@lru_cache(maxsize=1)
def _asyncapi() -> bytes:
    return to_json(asyncapi.document())


NOT_FOUND = Problem(
    code="contract_not_found",
    title="No message has this type",
    detail="See /api/contracts.",
    status=404,
)
