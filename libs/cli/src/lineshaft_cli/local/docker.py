"""RabbitMQ and PostgreSQL from the compose file, when a Docker engine answers."""

from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.installation import Installation

KIND = "docker"


def endpoints(installation: Installation) -> Endpoints:
    """Return the published addresses of the two containers."""
    return Endpoints()
