"""An aiohttp application with what every service has: problems, health, metrics, traces."""

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from aiohttp import web
from aiohttp.web_protocol import RequestHandler
from lineshaft_contracts.problems import Problem, ProblemError, invalid
from opentelemetry.trace import SpanKind
from prometheus_client import Counter, Histogram
from pydantic import ValidationError

from lineshaft_common import metrics, tracing
from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import NoReplyError, PublishError
from lineshaft_common.transient import is_transient

log = structlog.get_logger(__name__)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

HEALTH = web.AppKey("HEALTH", Health)
TRACE_RESPONSES = web.AppKey("TRACE_RESPONSES", bool)

SECONDS = Histogram(
    "http_server_request_duration_seconds",
    "Time to the end of the response",
    ["method", "route", "status"],
    buckets=metrics.BUCKETS,
)
PROBLEMS = Counter("lineshaft_http_problems_total", "Problem answers by code", ["code"])
QUIET_ROUTES = frozenset({"/healthz", "/readyz", "/metrics", "/v1/traces"})
"""Asked for by machines, again and again; a span about receiving spans would never end."""

BEGUN = web.RequestKey("BEGUN", bool)

UNAVAILABLE = Problem(
    code="service_unavailable",
    title="Something that is needed for this is away",
    detail="Nothing was lost. Try again.",
    status=503,
    retry_after_seconds=2,
)
INTERNAL = Problem(
    code="internal",
    title="Something went wrong inside",
    status=500,
    detail="It was logged under this trace id.",
)


def problem_response(problem: Problem) -> web.Response:
    """Write a problem as RFC 9457 JSON, with the trace id to ask about it."""
    PROBLEMS.labels(problem.code).inc()
    body: dict[str, Any] = {
        "type": f"urn:lineshaft:problem:{problem.code}",
        **problem.model_dump(mode="json", exclude={"retry_after_seconds"}, exclude_defaults=True),
        "status": problem.status,
    }
    trace_id = tracing.current_trace_id()
    if trace_id is not None:
        body["trace_id"] = trace_id
    headers: dict[str, str] = {}
    if problem.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, round(problem.retry_after_seconds)))
    return web.json_response(
        body, status=problem.status, headers=headers, content_type="application/problem+json"
    )


def problem_of(error: Exception) -> Problem:  # noqa: PLR0911 - one case, one answer.
    """Say which problem an error of a handler is; the one place that maps errors to HTTP."""
    match error:
        case ProblemError():
            return error.problem
        case ValidationError():
            return invalid(error.errors())
        case web.HTTPException():
            code = error.reason.lower().replace(" ", "_").replace("-", "_")
            return Problem(
                code=code,
                title=error.reason,
                status=error.status,
                detail=(error.text or "")[:300] if error.status < 500 else "",
            )
        case NoReplyError():
            return Problem(
                code="service_unavailable",
                title="The service behind this did not answer",
                detail="It is away or busy; nothing was lost. Try again.",
                status=503,
                retry_after_seconds=1,
            )
        case PublishError():
            return Problem(
                code="broker_unavailable",
                title="The message broker cannot be used now",
                detail="Try again; a repeat with the same id or key does nothing twice.",
                status=503,
                retry_after_seconds=2,
            )
        case _ if is_transient(error):
            return UNAVAILABLE
        case _:
            return INTERNAL


@web.middleware
async def _observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Trace, time, log and answer every request; the HTTP side's one broad except."""
    route = request.match_info.route.resource
    template = route.canonical if route is not None else "unmatched"
    if template in QUIET_ROUTES:
        return await handler(request)
    started = time.perf_counter()
    parent = tracing.extract(request.headers.get("traceparent"), request.headers.get("tracestate"))
    with tracing.span(
        f"{request.method} {template}",
        kind=SpanKind.SERVER,
        parent=parent,
        attributes={"http.request.method": request.method, "http.route": template},
    ) as span:
        response = await _answer(request, handler)
        seconds = time.perf_counter() - started
        span.set_attribute("http.response.status_code", response.status)
        SECONDS.labels(request.method, template, str(response.status)).observe(seconds)
        if not response.prepared:
            response.headers["X-Request-Id"] = tracing.current_trace_id() or "-"
            response.headers["Server-Timing"] = f"total;dur={seconds * 1000:.1f}"
        log.info(
            "request",
            method=request.method,
            route=template,
            status=response.status,
            milliseconds=round(seconds * 1000, 1),
        )
    return response


async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        response = problem_response(problem_of(error))
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception as error:
        if request.get(BEGUN):
            log.exception("response_broken_off", path=request.path)
            raise  # A second answer in the middle of the first would help nobody.
        problem = problem_of(error)
        if problem is INTERNAL:
            log.exception("request_failed", path=request.path)
        return problem_response(problem)


async def _note_begun(request: web.Request, _: web.StreamResponse) -> None:
    request[BEGUN] = True


async def _live(_: web.Request) -> web.Response:
    return web.json_response({"status": "pass"}, content_type="application/health+json")


async def _ready(request: web.Request) -> web.Response:
    checks = await request.app[HEALTH].examine()
    ready = all(outcome == "pass" for outcome in checks.values())
    body = {
        "status": "pass" if ready else "fail",
        "checks": {
            name: [
                {"status": "pass"} if outcome == "pass" else {"status": "fail", "output": outcome}
            ]
            for name, outcome in checks.items()
        },
    }
    return web.json_response(
        body, status=200 if ready else 503, content_type="application/health+json"
    )


async def _metrics(request: web.Request) -> web.Response:
    body, content_type = metrics.exposition(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


def create_app(health: Health, *, body_bytes_max: int = 1_048_576) -> web.Application:
    """Make an application that answers /healthz, /readyz and /metrics; add your own routes."""
    app = web.Application(
        middlewares=[_observe],
        client_max_size=body_bytes_max,
        handler_args={"max_line_size": 8190, "max_field_size": 8190},
    )
    app[HEALTH] = health
    app.on_response_prepare.append(_note_begun)
    app.router.add_get("/healthz", _live)
    app.router.add_get("/readyz", _ready)
    app.router.add_get("/metrics", _metrics)
    return app


@asynccontextmanager
async def serve(
    app: web.Application, *, host: str, port: int, first_request_seconds: float = 15.0
) -> AsyncGenerator[int]:
    """Accept requests inside the block and give the port; on leaving, finish those under way.

    A connection that has not sent a whole request head in `first_request_seconds` is closed.
    """
    runner = web.AppRunner(app, handle_signals=False, access_log=None, shutdown_timeout=5.0)
    await runner.setup()
    loop = asyncio.get_running_loop()

    def accept() -> RequestHandler:
        if runner.server is None:
            raise ConnectionAbortedError("the server is closed")
        connection = runner.server()
        loop.call_later(first_request_seconds, _close_if_silent, connection)
        return connection

    try:
        listener = await loop.create_server(accept, host, port, backlog=1024)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(listener.close)
            yield listener.sockets[0].getsockname()[1]
    finally:
        await runner.cleanup()


def _close_if_silent(connection: RequestHandler) -> None:
    if connection._request_count == 0:  # noqa: SLF001 - held by tests/test_http.py.
        connection.force_close()
