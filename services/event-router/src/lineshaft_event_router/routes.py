"""The event-router's own HTTP surface: health and metrics, nothing about events."""

from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health


def create_app(health: Health) -> web.Application:
    """Build the application; events come and go over RabbitMQ."""
    return http.create_app(health)
