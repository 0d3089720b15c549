"""The API reference as one HTML page, written from the OpenAPI document; it needs no script."""

import re
from collections.abc import Iterator
from html import escape
from typing import Any

from pydantic_core import to_json

HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Lineshaft API</title><link rel="icon" href="data:,">
<link rel="stylesheet" href="/style.css"></head><body>"""
FOOT = "</main></body></html>"


def page(document: dict[str, Any]) -> str:
    """Write the whole page."""
    return "".join(_page(document))


def _page(document: dict[str, Any]) -> Iterator[str]:
    info = document["info"]
    yield HEAD
    yield f"<header><h1>{escape(info['title'])} API {escape(info['version'])}</h1>"
    yield f"<p>{_prose(info['description'])}</p>"
    yield '<p><a href="/">Start</a> · <a href="/api/openapi.json">OpenAPI document</a></p><nav>'
    for tag in document["tags"]:
        yield f'<a href="#{escape(tag["name"])}">{escape(tag["name"])}</a>'
    yield '<a href="#models">Models</a></nav></header><main>'
    for tag in document["tags"]:
        yield f'<h2 id="{escape(tag["name"])}">{escape(tag["name"])}</h2>'
        yield f"<p>{_prose(tag['description'])}</p>"
        for path, operations in document["paths"].items():
            for method, operation in operations.items():
                if tag["name"] in operation["tags"]:
                    yield from _operation(method, path, operation)
    yield '<h2 id="models">Models</h2>'
    for name, schema in document["components"]["schemas"].items():
        yield f'<article id="{escape(name)}"><h3><code>{escape(name)}</code></h3>'
        yield f"<p>{_prose(schema.get('description', ''))}</p>"
        yield from _fields(schema)
        yield "</article>"
    yield FOOT


def _operation(method: str, path: str, operation: dict[str, Any]) -> Iterator[str]:
    name = escape(operation["operationId"])
    yield f'<article id="{name}"><h3><span class="method">{method.upper()}</span> '
    yield f"<code>{escape(path)}</code> {escape(operation['summary'])}</h3>"
    scope = operation.get("x-scope")
    yield f'<p class="quiet">{f"Scope <code>{escape(scope)}</code>" if scope else "No key"}</p>'
    yield f"<p>{_prose(operation.get('description', ''))}</p>"
    if "parameters" in operation:
        yield "<h4>Parameters</h4><table>"
        for one in operation["parameters"]:
            yield f"<tr><td><code>{escape(one['name'])}</code></td><td>{one['in']}</td>"
            yield f"<td>{_type(one['schema'])}</td>"
            yield f"<td>{_prose(one.get('description', ''))}</td></tr>"
        yield "</table>"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield f"<h4>Body: <code>{escape(media_type)}</code></h4><p>{_type(content['schema'])}</p>"
        if "example" in content:
            yield f"<pre>{escape(to_json(content['example'], indent=2).decode())}</pre>"
    yield "<h4>Answers</h4><table>"
    for status, answer in operation["responses"].items():
        kinds = ", ".join(_type(one["schema"]) for one in answer.get("content", {}).values())
        yield f"<tr><td>{status}</td><td>{kinds}</td><td>{escape(answer['description'])}</td></tr>"
    yield "</table></article>"


def _fields(schema: dict[str, Any]) -> Iterator[str]:
    if "enum" in schema:
        yield f"<p>One of {escape(', '.join(map(str, schema['enum'])))}</p>"
    properties = schema.get("properties", {})
    if not properties:
        return
    yield "<table>"
    for name, field in properties.items():
        mark = "" if name in schema.get("required", ()) else ' <span class="quiet">optional</span>'
        yield f"<tr><td><code>{escape(name)}</code>{mark}</td><td>{_type(field)}</td>"
        yield f"<td>{_prose(field.get('description', ''))}</td></tr>"
    yield "</table>"


def _type(schema: dict[str, Any]) -> str:
    """Name a schema in a few words, with links to models."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rsplit("/", 1)[-1])
        return f'<a href="#{name}">{name}</a>'
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema and "properties" not in schema:
            parts = [_conditional(one) if "then" in one else _type(one) for one in schema[word]]
            return (" or " if word != "allOf" else " with ").join(dict.fromkeys(parts))
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if "enum" in schema:
        return escape(" | ".join(map(str, schema["enum"])))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"array of {_type(schema.get('items', {}))}"
    form = schema.get("format") or schema.get("pattern")
    return f"{escape(str(kind))}{f' <code>{escape(form)}</code>' if form else ''}"


def _conditional(schema: dict[str, Any]) -> str:
    """Name what a field must be under a condition, such as the parameters of a job type."""
    (name, field), *_ = schema["then"]["properties"].items()
    return f"{escape(name)} {_type(field)}"


def _prose(text: str) -> str:
    """Write prose whose `words in backticks` are code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))
