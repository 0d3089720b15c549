"""`/api/jobs/{job_id}/artifacts/{name}`: files that jobs made, from the object store."""

import asyncio
from collections.abc import AsyncGenerator

import structlog
from aiohttp import web
from lineshaft_common.messaging.bus import Bus
from lineshaft_common.objects import ObjectMissingError, Objects
from lineshaft_contracts.jobs import ArtifactFound, FindArtifact
from lineshaft_contracts.problems import Problem, ProblemError

from lineshaft_gateway.byte_ranges import Selection, select
from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.keys import Scope
from lineshaft_gateway.limits import StreamLimits
from lineshaft_gateway.operations import Answer, Call, Operation, Parameter
from lineshaft_gateway.routes.guard import ATTRIBUTES
from lineshaft_gateway.routes.jobs import JOB_ID, job_id

log = structlog.get_logger(__name__)

WRITE_BYTES = 256 * 1024
PART_BYTES = 1024 * 1024
"""How much of a file is in memory for one client."""
WRITE_SECONDS_MAX = 20.0
"""How long one write may wait for the client before the connection is cut."""


class ArtifactRoutes:
    """Handlers."""

    def __init__(self, bus: Bus, objects: Objects, downloads: StreamLimits) -> None:
        self._bus = bus
        self._objects = objects
        self._downloads = downloads

    async def get(self, call: Call) -> web.StreamResponse:
        """Send the file or the part of it that is asked for."""
        request = call.request
        found = await self._bus.ask(
            FindArtifact(job_id=job_id(call), name=request.match_info["name"]),
            tenant=call.principal.tenant,
            source=SOURCE,
        )
        etag = f'"{found.artifact.sha256}"'
        selection = select(
            request.headers, method=request.method, size=found.artifact.bytes, etag=etag
        )
        problem = PROBLEMS.get(selection.status)
        if problem is not None:
            request.setdefault(ATTRIBUTES, {}).update({"ETag": etag, **selection.headers()})
            raise ProblemError(problem)
        headers = _headers(found, selection, etag)
        if selection.status == 304:
            kept = {name: headers[name] for name in ("ETag", "Cache-Control")}
            return web.Response(status=304, headers=kept)
        response = web.StreamResponse(status=selection.status, headers=headers)
        response.content_length = selection.end - selection.start
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        with self._downloads.opened(call.principal.tenant):
            return await self._send(request, response, found, selection)

    async def _parts(self, key: str, start: int, end: int) -> AsyncGenerator[bytes]:
        for at in range(start, end, PART_BYTES):
            async for part in self._objects.read(key, at, min(end, at + PART_BYTES)):
                yield part

    async def _send(
        self,
        request: web.Request,
        response: web.StreamResponse,
        found: ArtifactFound,
        selection: Selection,
    ) -> web.StreamResponse:
        parts = self._parts(found.object_key, selection.start, selection.end)
        try:
            part = await anext(parts, b"")
        except ObjectMissingError:
            raise ProblemError(GONE) from None
        await response.prepare(request)
        missing = selection.end - selection.start
        try:
            while part:
                missing -= len(part)
                view = memoryview(part)
                for at in range(0, len(view), WRITE_BYTES):
                    async with asyncio.timeout(WRITE_SECONDS_MAX):
                        await response.write(bytes(view[at : at + WRITE_BYTES]))
                part = await anext(parts, b"")
            if missing:
                raise ObjectMissingError(f"{missing} bytes of {found.object_key}")  # noqa: TRY301
            await response.write_eof()
        except ConnectionResetError:
            pass  # The client went away.
        except TimeoutError:
            log.info("artifact_reader_stuck", object_key=found.object_key)
            if request.transport is not None:
                request.transport.abort()
        except Exception:
            # The length is promised: only a broken connection tells the client that it is short.
            log.exception("artifact_broken_off", object_key=found.object_key)
            if request.transport is not None:
                request.transport.abort()
        return response

    def operations(self) -> tuple[Operation, ...]:
        """Rows of the route table."""
        return (
            Operation(
                id="getArtifact",
                method="GET",
                path="/api/jobs/{job_id}/artifacts/{name}",
                tag="Jobs",
                summary="Download an artifact",
                description="Answers HEAD, single byte ranges and conditional requests.",
                handle=self.get,
                scope=Scope.JOBS_READ,
                parameters=(
                    JOB_ID,
                    Parameter(name="name", place="path", description="The artifact's name."),
                    Parameter(name="Range", place="header", description="`bytes=first-last`"),
                    Parameter(name="If-Range", place="header", description="An ETag."),
                    Parameter(name="If-None-Match", place="header", description="ETags."),
                ),
                answers=(
                    Answer(status=200, description="The file", media_type="*/*"),
                    Answer(status=206, description="The part asked for", media_type="*/*"),
                ),
                problems={
                    404: "job_not_found, artifact_not_found",
                    410: "artifact_gone",
                    412: "precondition_failed",
                    416: "range_not_satisfiable",
                    429: "too_many_downloads",
                },
            ),
        )


def _headers(found: ArtifactFound, selection: Selection, etag: str) -> dict[str, str]:
    return {
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": f'attachment; filename="{found.artifact.name}"',
        "Content-Security-Policy": "default-src 'none'; sandbox",
        "Content-Type": found.artifact.media_type,
        "ETag": etag,
        **selection.headers(),
    }


GONE = Problem(
    code="artifact_gone",
    title="The artifact is no longer kept",
    detail="Its content has been deleted from the object store.",
    status=410,
)
PROBLEMS = {
    412: Problem(code="precondition_failed", title="The artifact is another one", status=412),
    416: Problem(
        code="range_not_satisfiable",
        title="The artifact has no such bytes",
        detail="Content-Range tells its size.",
        status=416,
    ),
}
