import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from .conftest import World
from .test_events import event
from .test_jobs import JOB

SCHEMA = {
    "type": "object",
    "required": ["openapi", "info", "paths", "components"],
    "properties": {
        "openapi": {"const": "3.1.0"},
        "info": {"type": "object", "required": ["title", "version"]},
        "paths": {
            "type": "object",
            "propertyNames": {"pattern": "^/"},
            "additionalProperties": {
                "type": "object",
                "propertyNames": {"enum": ["get", "post", "delete", "put", "patch"]},
                "additionalProperties": {"$ref": "#/$defs/operation"},
            },
        },
    },
    "$defs": {
        "operation": {
            "type": "object",
            "required": ["operationId", "tags", "summary", "security", "responses"],
            "properties": {
                "operationId": {"pattern": "^[a-z][A-Za-z]+$"},
                "parameters": {"type": "array", "items": {"$ref": "#/$defs/parameter"}},
                "requestBody": {
                    "required": ["content"],
                    "properties": {"content": {"$ref": "#/$defs/content"}},
                },
                "responses": {
                    "minProperties": 1,
                    "propertyNames": {"pattern": "^[12345][0-9]{2}$"},
                    "additionalProperties": {
                        "required": ["description"],
                        "properties": {"content": {"$ref": "#/$defs/content"}},
                    },
                },
            },
        },
        "parameter": {
            "required": ["name", "in", "schema", "required"],
            "properties": {"in": {"enum": ["path", "query", "header"]}},
            "if": {"properties": {"in": {"const": "path"}}},
            "then": {"properties": {"required": {"const": True}}},
        },
        "content": {
            "type": "object",
            "propertyNames": {"pattern": "^[a-z*]+/[a-z0-9.+*-]+$"},
            "additionalProperties": {"required": ["schema"]},
        },
    },
}


@pytest.fixture
async def document(world: World) -> Any:
    response = await world.client.get("/api/openapi.json")
    assert response.status == 200
    return await response.json()


async def test_the_document_is_well_formed(document: Any) -> None:
    Draft202012Validator(SCHEMA).validate(document)
    ids = [
        operation["operationId"]
        for path in document["paths"].values()
        for operation in path.values()
    ]
    assert len(ids) == len(set(ids))


async def test_every_reference_has_a_target_and_every_schema_is_valid(document: Any) -> None:
    schemas = document["components"]["schemas"]
    references = set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)))
    assert references
    for reference in references:
        assert reference.removeprefix("#/components/schemas/") in schemas
    for schema in schemas.values():
        Draft202012Validator.check_schema(schema)


async def test_every_route_is_in_the_document(world: World, document: Any) -> None:
    app = world.client.app
    assert app is not None
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None
        and route.method != "HEAD"
        and route.resource.canonical.startswith("/api")
    }
    described = {(method, path) for path, one in document["paths"].items() for method in one}
    assert served == described


async def test_every_path_parameter_is_described(document: Any) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            described = {
                one["name"] for one in operation.get("parameters", ()) if one["in"] == "path"
            }
            assert described == set(re.findall(r"{(\w+)}", path))


async def test_every_operation_names_its_scope_and_its_refusals(document: Any) -> None:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if operation["security"]:
                assert ":" in operation["x-scope"]
                assert {"401", "403", "429"} <= set(operation["responses"]), path


def validator(document: Any, schema: Any) -> Draft202012Validator:
    return Draft202012Validator({**schema, "components": document["components"]})


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"parameters": {"source": "plant"}}, False),
        ({"priority": "extreme"}, False),
        ({"type": "acme.custom", "parameters": {"any": 1}}, True),
    ],
)
async def test_the_schema_of_a_submission_knows_the_parameters_of_its_type(
    document: Any, change: Any, *, valid: bool
) -> None:
    body = document["paths"]["/api/jobs"]["post"]["requestBody"]["content"]
    found = validator(document, body["application/json"]["schema"])
    assert found.is_valid({**JOB, **change}) is valid


@pytest.mark.parametrize(
    ("change", "valid"),
    [
        ({}, True),
        ({"data": {"state": "running", "colour": 1, "since": 5}}, False),
        ({"type": "lineshaft.jobs.succeeded.v1"}, False),
        ({"id": None}, False),
    ],
)
async def test_the_schema_of_an_event_knows_the_data_of_its_type(
    document: Any, change: Any, *, valid: bool
) -> None:
    content = document["paths"]["/api/events"]["post"]["requestBody"]["content"]
    one = validator(document, content["application/cloudevents+json"]["schema"])
    assert one.is_valid(event(**change)) is valid
    batch = validator(document, content["application/cloudevents-batch+json"]["schema"])
    assert batch.is_valid([event(**change)]) is valid


async def test_examples_are_valid(document: Any) -> None:
    examples = 0
    for operations in document["paths"].values():
        for operation in operations.values():
            for content in operation.get("requestBody", {}).get("content", {}).values():
                if "example" in content:
                    validator(document, content["schema"]).validate(content["example"])
                    examples += 1
    assert examples >= 4


async def test_answers_are_what_the_document_says(world: World, document: Any) -> None:
    await world.run_jobs()
    key = world.key()
    made = await world.client.post("/api/jobs", json=JOB, headers=key)
    for path, url in (
        ("/api/jobs", "/api/jobs"),
        ("/api/jobs/{job_id}", made.headers["Location"]),
        ("/api/jobs-stats", "/api/jobs-stats"),
        ("/api/job-types", "/api/job-types"),
        ("/api/keys", "/api/keys"),
        ("/api/", "/api/"),
        ("/api/jobs", "/api/jobs?limit=0"),
        ("/api/jobs/{job_id}", "/api/jobs/none"),
    ):
        response = await world.client.get(url, headers=key)
        described = document["paths"][path]["get"]["responses"][str(response.status)]
        schema = described["content"][response.content_type]["schema"]
        validator(document, schema).validate(await response.json(content_type=None))


async def test_the_index_links_to_everything(world: World, document: Any) -> None:
    index = await (await world.client.get("/api/")).json()
    assert {link["href"] for link in index["links"]} == set(document["paths"])
    assert index["openapi"] == "/api/openapi.json"


@pytest.mark.parametrize("path", ["/", "/docs", "/landing.js", "/style.css"])
async def test_pages_ask_nothing_of_other_hosts(world: World, path: str) -> None:
    response = await world.client.get(path)
    text = await response.text()
    assert response.status == 200
    assert not re.search(r"""(src|href|url|import|fetch)\s*[=(]?\s*["'(]?(https?:)?//""", text)
    policy = response.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "<style" not in text
    assert not re.search(r"<script(?![^>]*src=)", text)
    again = await world.client.get(path, headers={"If-None-Match": response.headers["ETag"]})
    assert again.status == 304


async def test_the_reference_names_every_operation(world: World, document: Any) -> None:
    text = await (await world.client.get("/docs")).text()
    for operations in document["paths"].values():
        for operation in operations.values():
            assert f'id="{operation["operationId"]}"' in text
    for link in re.findall(r'href="#([^"]+)"', text):
        assert f'id="{link}"' in text, link
