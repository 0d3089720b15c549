"""The job-runner's own HTTP surface: health and metrics, nothing about jobs."""

from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health


def create_app(health: Health) -> web.Application:
    """Build the application; everything about jobs is asked over RabbitMQ."""
    return http.create_app(health)
