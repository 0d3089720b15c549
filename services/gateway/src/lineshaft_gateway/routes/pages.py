"""`/`, `/docs`, `/api/` and `/api/openapi.json`: what tells people and programs about the API."""

import asyncio
from collections.abc import Sequence
from hashlib import blake2b
from importlib.resources import files

from aiohttp import web
from pydantic import BaseModel
from pydantic_core import to_json

from lineshaft_gateway import openapi, reference_page
from lineshaft_gateway.operations import Answer, Call, Operation
from lineshaft_gateway.routes.answering import json_answer

PAGE_FIELDS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-cache",
}
FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/landing.js": ("landing.js", "text/javascript; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
}


class Link(BaseModel):
    """An operation of the API."""

    method: str
    href: str
    title: str


class Index(BaseModel):
    """Where to go from here."""

    name: str = "Lineshaft"
    version: str
    openapi: str = "/api/openapi.json"
    reference: str = "/docs"
    links: tuple[Link, ...]


class PageRoutes:
    """Handlers; the document is written when it is first asked for, in a thread."""

    def __init__(self, version: str) -> None:
        self._version = version
        self._operations: Sequence[Operation] = ()
        self._written: asyncio.Future[tuple[bytes, bytes]] | None = None

    def describe(self, operations: Sequence[Operation]) -> None:
        """Name the operations of the document, the index and the reference."""
        self._operations = operations

    async def index(self, call: Call) -> web.Response:
        """List all operations."""
        links = tuple(
            Link(method=one.method, href=one.path, title=one.summary) for one in self._operations
        )
        return json_answer(Index(version=self._version, links=links))

    async def openapi(self, call: Call) -> web.Response:
        """Send the OpenAPI document."""
        document, _ = await self._documents()
        return web.Response(body=document, content_type="application/json")

    async def reference(self, request: web.Request) -> web.Response:
        """Send the reference page."""
        _, reference = await self._documents()
        return _page(request, reference, "text/html; charset=utf-8")

    def _documents(self) -> "asyncio.Future[tuple[bytes, bytes]]":
        if self._written is None:
            self._written = asyncio.ensure_future(asyncio.to_thread(self._write))
        return asyncio.shield(self._written)

    def _write(self) -> tuple[bytes, bytes]:
        document = openapi.document(self._operations, version=self._version)
        return to_json(document), reference_page.page(document).encode()

    async def file(self, request: web.Request) -> web.Response:
        """Send a file of the landing page."""
        name, content_type = FILES[request.path]
        body = files("lineshaft_gateway").joinpath("pages", name).read_bytes()
        return _page(request, body, content_type)

    def add_to(self, app: web.Application) -> None:
        """Add what is for people and so not in the document."""
        app.router.add_get("/docs", self.reference)
        for path in FILES:
            app.router.add_get(path, self.file)

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="getIndex",
                method="GET",
                path="/api/",
                tag="API",
                summary="List the operations",
                handle=self.index,
                answers=(Answer(status=200, description="Links", model=Index),),
            ),
            Operation(
                id="getOpenApi",
                method="GET",
                path="/api/openapi.json",
                tag="API",
                summary="This document",
                handle=self.openapi,
                answers=(Answer(status=200, description="OpenAPI 3.1"),),
            ),
        )


def _page(request: web.Request, body: bytes, content_type: str) -> web.Response:
    tag = f'"{blake2b(body, digest_size=12).hexdigest()}"'
    headers = {**PAGE_FIELDS, "ETag": tag}
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, headers={**headers, "Content-Type": content_type})
