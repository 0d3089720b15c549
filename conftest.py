"""Real servers for the tests that ask for them; a test that asks for none starts none.

Addresses come, in this order, from `LINESHAFT_AMQP_URL` / `LINESHAFT_POSTGRES_URL` (with
`LINESHAFT_RABBITMQ_MANAGEMENT_URL` for virtual hosts), from containers when a Docker engine
answers, else from private servers below `.lineshaft/test/`. Servers that we started end with the
run, also when it is killed. Of several processes that share a run (`-n 2`), each has its own.
"""

import asyncio
import os
import secrets
import warnings
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import asyncpg
import pytest
from hypothesis import HealthCheck, settings
from lineshaft_cli.local import definitions, docker, throwaway
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.virtual_host import Management, with_path

ROOT = Path(__file__).parent
PLACE = ROOT / ".lineshaft" / "test"

# The same examples in every run, however slow the machine is at that moment;
# `--hypothesis-profile=search` looks for new ones.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("same", UNHURRIED, derandomize=True, database=None)
settings.register_profile("search", UNHURRIED, print_blob=True)
settings.load_profile("same")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what needs no server first, and what kills servers last: the cheapest failure first."""

    def cost(item: pytest.Item) -> int:
        chaos = item.get_closest_marker("chaos") is not None
        integration = item.get_closest_marker("integration") is not None
        return 2 if chaos else int(integration)

    items.sort(key=cost)


@contextmanager
def _server(name: str) -> Generator[Endpoints]:
    """Run one server (`rabbitmq` or `postgres`) in a container when possible, else privately."""
    with ExitStack() as stack:
        endpoints = None
        if docker.engine_answers():
            from lineshaft_cli.local import containers  # noqa: PLC0415 - slow to import

            try:
                endpoints = stack.enter_context(containers.server(name))
            except containers.ContainerError as error:
                warning = pytest.PytestWarning(f"{error}; using a private server")
                warnings.warn_explicit(warning, None, __file__, 1)
        if endpoints is None:
            servers = throwaway.servers(PLACE, frozenset({name}))
            endpoints = stack.enter_context(servers).endpoints
        yield endpoints


def _execute(statement: str, url: str) -> None:
    """Run one statement; in a thread, because the test's own event loop may be set up already."""

    async def execute() -> None:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, execute()).result()


@contextmanager
def _virtual_host(endpoints: Endpoints) -> Generator[str]:
    if endpoints.amqp is None or endpoints.rabbitmq_management is None:
        pytest.fail("set LINESHAFT_RABBITMQ_MANAGEMENT_URL beside LINESHAFT_AMQP_URL")
    management = Management(endpoints.rabbitmq_management)
    name = f"test-{secrets.token_hex(4)}"
    management.create(name, definitions.topology(ROOT))
    try:
        yield with_path(endpoints.amqp, name)
    finally:
        management.delete(name)


@pytest.fixture(scope="session")
def rabbitmq_endpoints() -> Generator[Endpoints]:
    """Provide the broker of this run, and its management API."""
    given = os.environ.get("LINESHAFT_AMQP_URL")
    if given:
        management = os.environ.get("LINESHAFT_RABBITMQ_MANAGEMENT_URL")
        yield Endpoints(amqp=given, rabbitmq_management=management)
        return
    with _server("rabbitmq") as endpoints:
        yield endpoints


@pytest.fixture(scope="session")
def amqp_url(rabbitmq_endpoints: Endpoints) -> Generator[str]:
    """Provide a virtual host of this run, with the topology of the contracts declared in it."""
    if rabbitmq_endpoints.rabbitmq_management is None and rabbitmq_endpoints.amqp is not None:
        yield rabbitmq_endpoints.amqp
        return
    with _virtual_host(rabbitmq_endpoints) as url:
        yield url


@pytest.fixture
def fresh_amqp_url(rabbitmq_endpoints: Endpoints) -> Generator[str]:
    """Provide a virtual host of this one test: the topology declared, every queue empty."""
    with _virtual_host(rabbitmq_endpoints) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_admin_url() -> Generator[str]:
    """Provide the PostgreSQL of this run, as a user that may create databases."""
    given = os.environ.get("LINESHAFT_POSTGRES_URL")
    if given:
        yield given
        return
    with _server("postgres") as endpoints:
        if endpoints.postgres is None:
            pytest.fail("PostgreSQL came up without an address")
        yield endpoints.postgres


@pytest.fixture
def postgres_url(postgres_admin_url: str) -> Generator[str]:
    """Provide an empty database of this one test."""
    name = f"test_{secrets.token_hex(6)}"
    _execute(f'CREATE DATABASE "{name}"', postgres_admin_url)
    try:
        yield with_path(postgres_admin_url, name)
    finally:
        _execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', postgres_admin_url)


@pytest.fixture(scope="module")
def servers_to_kill() -> Generator[throwaway.Servers]:
    """Provide a pair of private servers to kill; each is started again with its data.

    The tests of one file share them, so a test leaves nothing behind that another could mind.
    """
    with throwaway.servers(PLACE) as servers:
        yield servers
