"""What every request passes before its handler: key, scope, rate, query and body."""

import asyncio
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any, get_args, get_origin

from aiohttp import web
from lineshaft_common import tracing
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError, invalid, pointer
from pydantic import BaseModel, ValidationError

from lineshaft_gateway import json_input
from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import Principal
from lineshaft_gateway.limits import Allowance, RateLimiter
from lineshaft_gateway.operations import Call, Operation

BODY_TIMEOUT_SECONDS = 15.0
ATTRIBUTES = web.RequestKey("ATTRIBUTES", dict[str, str])
"""Header fields that the response gets, whatever becomes of the request."""

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Server": "lineshaft",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
PROTOCOL_KEY_PREFIX = "lineshaft.key."
"""Before the key among the subprotocols that a browser's WebSocket offers: it sets no header."""
ANONYMOUS = Principal(prefix="", tenant="", scopes=frozenset())


class Guard:
    """Turns operations into aiohttp handlers."""

    def __init__(
        self,
        keyring: Keyring,
        *,
        requests: RateLimiter,
        failed_logins: RateLimiter,
        body_bytes_max: int,
    ) -> None:
        self._keyring = keyring
        self._requests = requests
        self._failed_logins = failed_logins
        self._body_bytes_max = body_bytes_max

    def handler(self, operation: Operation) -> Callable[[web.Request], Awaitable[Any]]:
        """Return the aiohttp handler of an operation."""

        async def handle(request: web.Request) -> web.StreamResponse:
            principal = ANONYMOUS
            if operation.scope is not None:
                principal = await self._admit(request, operation)
            if any("\0" in segment for segment in request.match_info.values()):
                raise ProblemError(NO_SUCH_PATH)
            call = Call(
                request=request,
                principal=principal,
                query=read_query(request, operation.query),
                body=await self._read_body(request, operation),
            )
            return _validated(request, await operation.handle(call))

        return handle

    async def _admit(self, request: web.Request, operation: Operation) -> Principal:
        principal = await self._recognise(request)
        fields = request.setdefault(ATTRIBUTES, {})
        allowance = self._requests.take(principal.prefix)
        fields.update(allowance.headers())
        if not allowance.allowed:
            raise ProblemError(too_many_requests(allowance))
        if operation.scope is not None and not principal.may(operation.scope):
            fields["WWW-Authenticate"] = (
                f'Bearer error="insufficient_scope", scope="{operation.scope}"'
            )
            raise ProblemError(
                Problem(
                    code="missing_scope",
                    title="The key may not do this",
                    detail=f"It needs the scope {operation.scope}.",
                    status=403,
                )
            )
        return principal

    async def _recognise(self, request: web.Request) -> Principal:
        scheme, _, credentials = _authorization(request).partition(" ")
        principal = None
        if scheme.lower() == "bearer":
            address, text = request.remote or "", credentials.strip()
            # Unknown keys cost a look-up each: an address that keeps guessing has to wait,
            # but locks out nobody behind the same address whose key is known.
            if self._failed_logins.knows(address) and not self._keyring.knows(text):
                failed = self._failed_logins.take(address, 0)
                if failed.remaining < 1:
                    raise ProblemError(too_many_requests(failed))
            principal = await self._keyring.recognise(text)
            if principal is None:
                self._failed_logins.take(address)
        if principal is None:
            error = ', error="invalid_token"' if credentials else ""
            fields = request.setdefault(ATTRIBUTES, {})
            fields["WWW-Authenticate"] = f'Bearer realm="lineshaft"{error}'
            raise ProblemError(UNAUTHORIZED)
        return principal

    async def _read_body(self, request: web.Request, operation: Operation) -> Any:
        if operation.body is None or not operation.reads_body:
            return None
        if request.content_type != "application/json":
            raise ProblemError(unsupported_type(operation))
        body = await read_bytes(request, self._body_bytes_max)
        return json_input.read(operation.body, body)


def _authorization(request: web.Request) -> str:
    """Return the header field, or for the opening of a WebSocket what stands in for it."""
    given = request.headers.get("Authorization")
    if given is None and request.headers.get("Upgrade", "").lower() == "websocket":
        for offered in request.headers.get("Sec-WebSocket-Protocol", "").split(","):
            if offered.strip().startswith(PROTOCOL_KEY_PREFIX):
                return f"Bearer {offered.strip().removeprefix(PROTOCOL_KEY_PREFIX)}"
    return given or ""


async def read_bytes(request: web.Request, bytes_max: int) -> bytes:
    """Read the whole body; raises ProblemError `body_too_large` or `body_too_slow`.

    The limit is the caller's, whatever the application's: some operations take more than others.
    """
    if (request.content_length or 0) > bytes_max:
        raise ProblemError(too_large(bytes_max))
    if request.content.is_eof() and request.content.exception() is None:
        whole = request.content.read_nowait()  # Nearly every body came along with its head.
        if len(whole) > bytes_max:
            raise ProblemError(too_large(bytes_max))
        return whole
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT_SECONDS):
            while part := await request.content.readany():
                body += part
                if len(body) > bytes_max:
                    raise ProblemError(too_large(bytes_max))
            return bytes(body)
    except TimeoutError:
        raise ProblemError(TOO_SLOW) from None
    except web.RequestPayloadError as error:
        raise ProblemError(
            Problem(
                code="body_unreadable",
                title="The body cannot be read",
                detail=str(error)[:200],
                status=400,
            )
        ) from None


def read_query(request: web.Request, model: type[BaseModel] | None) -> BaseModel | None:
    """Read the query string into a closed model; a field that is a tuple may be repeated."""
    if model is None:
        return None
    _refuse_nul(request)
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        values[name] = given if _repeats(model, name) or len(given) > 1 else given[0]
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise ProblemError(invalid(error.errors(include_url=False), prefix=("query",))) from None


def _refuse_nul(request: web.Request) -> None:
    """Refuse what PostgreSQL cannot compare with, whatever the field."""
    found = [name for name, value in request.query.items() if "\0" in name + value]
    if found:
        message = "NUL characters are not accepted"
        raise ProblemError(
            json_input.refused(
                tuple(
                    FieldProblem(
                        pointer=pointer(("query", name)), code="nul_character", message=message
                    )
                    for name in dict.fromkeys(found)
                )
            )
        )


def _repeats(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    if field is None:
        return False
    kinds = (field.annotation, *get_args(field.annotation))
    return any(get_origin(kind) is tuple for kind in kinds)


def _validated(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    """Give a readable answer an ETag, or say that the client has it already."""
    if (
        request.method not in {"GET", "HEAD"}
        or response.status != 200
        or not isinstance(response, web.Response)
        or response.prepared
        or not isinstance(response.body, bytes)
    ):
        return response
    tag = f'W/"{blake2b(response.body, digest_size=12).hexdigest()}"'
    response.headers["ETag"] = tag
    response.headers.setdefault("Cache-Control", "private, no-cache")
    known = request.headers.get("If-None-Match", "")
    if tag in {one.strip() for one in known.split(",")} or known.strip() == "*":
        kept = {n: response.headers[n] for n in ("ETag", "Cache-Control")}
        return web.Response(status=304, headers=kept)
    return response


async def complete(request: web.Request, response: web.StreamResponse) -> None:
    """Signal handler: give every response, also of problems and streams, its common fields."""
    headers = response.headers
    if ATTRIBUTES in request:
        headers.update(request[ATTRIBUTES])
    for name, value in SECURITY_HEADERS.items():
        headers.setdefault(name, value)
    headers["Server"] = SECURITY_HEADERS["Server"]
    headers.setdefault("Cache-Control", "no-store")
    headers.setdefault("X-Request-Id", tracing.current_trace_id() or "-")


def too_many_requests(allowance: Allowance) -> Problem:
    """Make the problem of a key or an address that asks too often."""
    return Problem(
        code="too_many_requests",
        title="Too many requests",
        status=429,
        retry_after_seconds=max(1.0, allowance.retry_after_seconds),
    )


def too_large(bytes_max: int) -> Problem:
    """Make the problem of a body above the limit."""
    return Problem(
        code="body_too_large",
        title="The body is too large",
        detail=f"at most {bytes_max} bytes are accepted",
        status=413,
    )


def unsupported_type(operation: Operation) -> Problem:
    """Make the problem of a body of the wrong media type."""
    return Problem(
        code="unsupported_media_type",
        title="The body has the wrong media type",
        detail=f"Content-Type must be {' or '.join(operation.body_types)}",
        status=415,
    )


UNAUTHORIZED = Problem(
    code="unauthorized",
    title="A valid API key is needed",
    detail="Send it as `Authorization: Bearer lsk_...`.",
    status=401,
)
NO_SUCH_PATH = Problem(
    code="not_found",
    title="There is nothing here",
    detail="The path has a NUL character.",
    status=404,
)
TOO_SLOW = Problem(
    code="body_too_slow",
    title="The body did not arrive in time",
    detail=f"at most {BODY_TIMEOUT_SECONDS:g} s",
    status=408,
)
