"""Where the servers of a local system come from: given addresses, Docker, or Debian's packages."""

from collections.abc import Mapping
from pathlib import Path

from lineshaft_cli.local import apt, docker
from lineshaft_cli.local.console import say
from lineshaft_cli.local.installation import Installation
from lineshaft_cli.local.plan import AMQP_URL, POSTGRES_URL, PRIVATE, ROOT, SERVERS


def needed(only: frozenset[str] | None, environment: Mapping[str, str]) -> list[str]:
    """Return the servers that we must provide: those wanted for which no address is given."""
    given = {"rabbitmq": AMQP_URL, "postgres": POSTGRES_URL}
    return [
        name
        for name in SERVERS
        if not environment.get(given[name]) and (only is None or name in only)
    ]


def provide(directory: Path, only: frozenset[str] | None, environment: Mapping[str, str]) -> str:
    """Start the containers or install the packages, and return which of both it was.

    The first choice is remembered, because the data is where it was made.
    """
    names = needed(only, environment)
    if not names:
        return PRIVATE
    remembered = Installation.load(directory).servers
    kind = remembered or (docker.KIND if docker.engine_answers() else PRIVATE)
    if kind == docker.KIND:
        kind = _containers(directory, names, remembered=remembered)
    if kind == PRIVATE:
        apt.install_missing(frozenset(names))
    installation = Installation.load(directory)
    installation.model_copy(update={"servers": kind}).save(directory)
    return kind


def _containers(directory: Path, names: list[str], *, remembered: str | None) -> str:
    """Start the containers; where there never were any, private servers do as well."""
    say(f"starting {' and '.join(names)} with docker compose")
    containers = docker.Containers(ROOT, directory)
    try:
        containers.start(names)
    except docker.DockerError as error:
        if remembered is not None:
            raise
        containers.remove()
        say(f"{error}\nlineshaft: using private servers instead")
        return PRIVATE
    return docker.KIND
