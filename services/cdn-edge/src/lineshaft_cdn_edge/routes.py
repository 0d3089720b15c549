"""The HTTP side of an edge: every path is an asset but for the three that every service has."""

from collections.abc import AsyncGenerator

from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health
from prometheus_client import REGISTRY

from lineshaft_cdn_edge.assembly import Station
from lineshaft_cdn_edge.exposition import EdgeCollector


def create_app(station: Station, health: Health) -> web.Application:
    """Make the application; assets are of any method and path."""

    async def exposed(_: web.Application) -> AsyncGenerator[None]:
        collector = EdgeCollector(station.traffic, station.store, region=station.region)
        REGISTRY.register(collector)
        yield
        REGISTRY.unregister(collector)

    app = http.create_app(health)
    app.cleanup_ctx.append(exposed)
    app.router.add_route("*", "/{path:.*}", station.delivery.handle)
    return app
