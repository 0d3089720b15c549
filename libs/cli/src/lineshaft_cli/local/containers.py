"""One server in a container for the time of a test run, through testcontainers."""

import secrets
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Its own deprecations are not ours to mend.
    from testcontainers.core.container import DockerContainer

from docker.errors import DockerException

from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.virtual_host import Management

RABBITMQ_IMAGE = "rabbitmq:4-management"
POSTGRES_IMAGE = "postgres:17"
READY_SECONDS = 120.0
POLL_SECONDS = 0.2


class ContainerError(LocalError):
    """The engine answers, but the container did not come up."""


@contextmanager
def server(name: str) -> Generator[Endpoints]:
    """Run `rabbitmq` or `postgres` in a container; it is removed afterwards."""
    password = secrets.token_urlsafe(18)
    container = _rabbitmq(password) if name == "rabbitmq" else _postgres(password)
    try:
        container.start()
    except (DockerException, OSError, TimeoutError) as error:
        message = f"{name} does not start in a container: {error}"
        raise ContainerError(message) from error
    try:
        yield _endpoints(name, container, password)
    finally:
        container.stop()


def _rabbitmq(password: str) -> DockerContainer:
    return (
        DockerContainer(RABBITMQ_IMAGE)
        .with_env("RABBITMQ_DEFAULT_USER", "lineshaft")
        .with_env("RABBITMQ_DEFAULT_PASS", password)
        .with_exposed_ports(5672, 15672)
    )


def _postgres(password: str) -> DockerContainer:
    return (
        DockerContainer(POSTGRES_IMAGE)
        .with_env("POSTGRES_PASSWORD", password)
        .with_command("postgres -c fsync=off -c max_connections=200")
        .with_exposed_ports(5432)
    )


def _endpoints(name: str, container: DockerContainer, password: str) -> Endpoints:
    host = container.get_container_host_ip()
    if name == "postgres":
        # The image's first server, for its own set-up, listens on a socket only.
        question = ["pg_isready", "-h", "127.0.0.1", "-U", "postgres"]
        _wait(name, lambda: container.exec(question).exit_code == 0)
        port = container.get_exposed_port(5432)
        return Endpoints(postgres=f"postgresql://postgres:{password}@{host}:{port}/postgres")
    amqp, management = container.get_exposed_port(5672), container.get_exposed_port(15672)
    url = f"http://lineshaft:{password}@{host}:{management}"
    _wait(name, Management(url).answers)
    return Endpoints(
        amqp=f"amqp://lineshaft:{password}@{host}:{amqp}/%2F", rabbitmq_management=url
    )


def _wait(name: str, is_ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not is_ready():
        if time.monotonic() > deadline:
            message = f"{name} in its container is not ready after {READY_SECONDS:g} s"
            raise ContainerError(message)
        time.sleep(POLL_SECONDS)
