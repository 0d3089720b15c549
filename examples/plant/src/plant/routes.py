"""The HTTP side of the application: its assets, its health, and a button that runs a shift."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from aiohttp import web

from plant.assets import asset_files, headers_of
from plant.publishing import PublishingError
from plant.shift import ShiftSummary


def create_app(
    *, ready: Callable[[], Awaitable[bool]], run_shift: Callable[[], Awaitable[ShiftSummary]]
) -> web.Application:
    """Make the application of these two abilities."""
    app = web.Application()
    routes = _Routes(ready, run_shift)
    app.router.add_get("/healthz", routes.health)
    app.router.add_get("/assets/{name}", routes.asset)
    app.router.add_get("/", routes.index)
    app.router.add_post("/shift", routes.shift)
    return app


class _Routes:
    def __init__(
        self,
        ready: Callable[[], Awaitable[bool]],
        run_shift: Callable[[], Awaitable[ShiftSummary]],
    ) -> None:
        self._ready = ready
        self._run_shift = run_shift
        self._files = asset_files()
        self._shift_runs = False

    async def health(self, _request: web.Request) -> web.Response:
        """200 when the database answers."""
        try:
            ready = await self._ready()
        except (OSError, TimeoutError):
            ready = False
        status = "pass" if ready else "fail"
        return web.json_response({"status": status}, status=200 if ready else 503)

    async def index(self, _request: web.Request) -> web.Response:
        """Lead to the page."""
        raise web.HTTPFound("/assets/index.html")

    async def asset(self, request: web.Request) -> web.FileResponse:
        """One file with ETag and Last-Modified; ranges and conditional requests included."""
        name = request.match_info["name"]
        if name not in self._files:
            raise web.HTTPNotFound
        return web.FileResponse(self._files[name], headers=headers_of(name))

    async def shift(self, _request: web.Request) -> web.Response:
        """Run the shift that ends now; answers when its events are published."""
        if self._shift_runs:
            raise web.HTTPConflict(text="a shift is being published")
        self._shift_runs = True
        try:
            return web.json_response(asdict(await self._run_shift()))
        except PublishingError as error:
            raise web.HTTPBadGateway(text=str(error)) from error
        finally:
            self._shift_runs = False
