"""`/api/contracts`: what is agreed on about messages, as people and programs can read it."""

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lineshaft_contracts import asyncapi, golden
from lineshaft_contracts.message_catalogue import catalogue
from lineshaft_contracts.registry import Kind, contracts, read
from lineshaft_contracts.schemas import all_schemas
from pydantic_core import to_json
from referencing import Registry, Resource

from .conftest import World, pointers, problem


async def get(world: World, path: str) -> Any:
    async with world.client.get(f"/api/contracts{path}") as response:
        assert response.status == 200
        return await response.json(content_type=None)


async def test_every_type_is_listed_with_a_schema_that_is_there(world: World) -> None:
    listed = (await get(world, ""))["contracts"]
    assert [one["type"] for one in listed] == list(contracts())
    raised = next(one for one in listed if one["type"] == "plant.quality.alert-raised.v1")
    assert (raised["exchange"], raised["owner"], raised["publishers"]) == (
        "plant.quality", "plant", ["plant"],
    )  # fmt: skip
    assert raised["binding"] == "*.*.*.*.*.alert-raised.*"
    assert {"queue": "monitor.plant", "service": "monitor"} in raised["consumers"]
    for one in [*listed[:3], raised]:
        schema = await get(world, one["schema_link"].removeprefix("contracts"))
        assert schema == all_schemas()[f"{one['type']}.json"]


FILTERS: list[tuple[str, Any]] = [
    ("kind=event", lambda one: one.kind is Kind.EVENT),
    ("owner=monitor", lambda one: one.owner == "monitor"),
    ("exchange=plant.quality", lambda one: one.exchange == "plant.quality"),
    ("exchange=plant.quality&kind=query", lambda _: False),
]


@pytest.mark.parametrize(("query", "kept"), FILTERS)
async def test_the_list_is_filtered(world: World, query: str, kept: Any) -> None:
    listed = (await get(world, f"?{query}"))["contracts"]
    assert [one["type"] for one in listed] == [one.type for one in catalogue() if kept(one)]


async def test_the_schemas_refer_to_each_other_and_hold(world: World) -> None:
    schema = await get(world, "/schemas/plant.quality.alert-raised.v1.json")
    envelope = await get(world, "/schemas/envelope.v1.json")
    empty: Any = Registry
    registry = empty().with_resources([("envelope.v1.json", Resource.from_contents(envelope))])
    message = golden.valid(contracts()["plant.quality.alert-raised.v1"], full=True)
    validator = Draft202012Validator(schema, registry=registry)
    assert validator.is_valid(message)
    assert not validator.is_valid({**message, "data": {}})


async def test_the_documents_have_an_etag(world: World) -> None:
    assert await get(world, "/asyncapi.json") == asyncapi.document()
    for path in ("", "/asyncapi.json", "/schemas/envelope.v1.json"):
        first = await world.client.get(f"/api/contracts{path}")
        again = {"If-None-Match": first.headers["ETag"]}
        assert (await world.client.get(f"/api/contracts{path}", headers=again)).status == 304


async def test_what_is_not_there_is_a_problem(world: World) -> None:
    for name in ("no.such.v1.json", "plant.quality.alert-raised.v1", "..%2Fcompat.lock"):
        response = await world.client.get(f"/api/contracts/schemas/{name}")
        await problem(response, 404, "contract_not_found")
    response = await world.client.get("/api/contracts?kind=rumour")
    assert pointers(await problem(response, 422, "invalid_input")) == ["/query/kind"]


@pytest.mark.parametrize("entry", catalogue(), ids=lambda one: one.type)
def test_the_routing_key_is_the_one_that_messages_have(entry: Any) -> None:
    contract = contracts()[entry.type]
    if contract.exchange is None:
        assert (entry.routing_key, entry.binding, entry.consumers) == (None, None, ())
        return
    message = golden.valid(contract, full=True)
    words = read(entry.type, to_json(message)).key.split(".")
    pattern = entry.binding.split(".")
    assert len(words) == len(pattern)
    assert all(one in {"*", word} for one, word in zip(pattern, words, strict=True))
    assert entry.consumers
