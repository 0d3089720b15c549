"""RabbitMQ and PostgreSQL from the compose file, when a Docker engine answers."""

import shutil
import subprocess

from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.installation import Installation

KIND = "docker"
ANSWER_SECONDS = 5.0


def engine_answers() -> bool:
    """Whether there is a Docker client here whose engine answers quickly."""
    if shutil.which("docker") is None:
        return False
    try:
        result = subprocess.run(
            ["docker", "version", "--format", "{{.Server.Version}}"],  # noqa: S607 - the user's own
            check=False,
            capture_output=True,
            timeout=ANSWER_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return result.returncode == 0


def endpoints(installation: Installation) -> Endpoints:
    """Return the published addresses of the two containers."""
    return Endpoints()
