"""One operation of the API: what the router, the guard and the OpenAPI document know of it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from pydantic import BaseModel

from lineshaft_gateway.keys import Principal, Scope

JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One admitted request: who asks, and what was read of it."""

    request: web.Request
    principal: Principal
    query: Any = None
    """An instance of the operation's `query` model."""
    body: Any = None
    """An instance of the operation's `body` model."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A response as the document describes it."""

    status: int
    description: str
    model: type[BaseModel] | None = None
    media_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict[str, str])
    """Descriptions by field name."""


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A header field or path segment as the document describes it; query comes from the model."""

    name: str
    place: str
    """`path` or `header`."""
    description: str
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A row of the route table."""

    id: str
    """camelCase, the name of the method in a generated client."""
    method: str
    path: str
    tag: str
    summary: str
    handle: Callable[[Call], Awaitable[web.StreamResponse]]
    answers: tuple[Answer, ...]
    description: str = ""
    scope: Scope | None = None
    """None: no key is needed."""
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    body_schema: Callable[[Callable[[type[BaseModel]], str]], dict[str, Any]] | None = None
    """Writes the body's schema, when it says more than the model; gets what refers to a model."""
    body_types: tuple[str, ...] = (JSON,)
    reads_body: bool = True
    """False: the handler reads the body itself."""
    parameters: tuple[Parameter, ...] = ()
    problems: dict[int, str] = field(default_factory=dict[int, str])
    """Problem codes by status that are this operation's own."""
    example: Any = None
