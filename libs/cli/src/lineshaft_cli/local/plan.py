"""What one start runs: the servers and services of a table, with ports and passwords filled in."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lineshaft_cli.local import databases, definitions, docker, postgres, rabbitmq
from lineshaft_cli.local.child import Account, Spec
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.installation import Installation, place_for_other_user
from lineshaft_cli.local.leftovers import marker
from lineshaft_cli.local.processes import Process
from lineshaft_cli.local.service_environment import ServiceEnvironment

AMQP_URL = "LINESHAFT_AMQP_URL"
POSTGRES_URL = "LINESHAFT_POSTGRES_URL"
PRIVATE = "private"
SERVERS = ("rabbitmq", "postgres")
ROOT = Path(__file__).resolve().parents[5]


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    directory: Path
    table: Sequence[Process]
    only: frozenset[str] | None = None
    throwaway: bool = False
    servers: str = PRIVATE

    def wants(self, name: str) -> bool:
        """Whether the server or service of this name is to run."""
        return self.only is None or name in self.only

    def check(self) -> None:
        """Refuse names that nothing has."""
        known = {*SERVERS, *(process.name for process in self.table)}
        unknown = sorted(name for name in self.only or () if name not in known)
        if unknown:
            message = f"no such process: {', '.join(unknown)}. Known: {', '.join(sorted(known))}"
            raise LocalError(message)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything the supervisor needs to know; nothing is started by making it."""

    request: Request
    installation: Installation
    servers: Sequence[Spec]
    services: Sequence[Spec]
    endpoints: Endpoints
    postgres_is_ours: bool

    @property
    def database_passwords(self) -> Mapping[str, str]:
        """Return the password of each service's role."""
        return {name: self.installation.passwords[name] for name in databases.NAMES}


def make(request: Request, environment: Mapping[str, str]) -> Plan:
    """Choose ports and passwords, write the servers' configuration, and describe each process."""
    request.check()
    installation = _installation(request)
    installation.save(request.directory)
    servers, endpoints = _servers(request, installation, environment)
    services: list[Spec] = []
    wanted = [process for process in request.table if request.wants(process.name)]
    if wanted:
        around = ServiceEnvironment.of(
            root=ROOT,
            directory=request.directory,
            table=request.table,
            ports=installation.ports,
            endpoints=endpoints,
            inherited=environment,
        )
        services = [around.spec(process) for process in wanted]
    mark = marker(request.directory)
    return Plan(
        request=request,
        installation=installation,
        servers=[_marked(spec, mark) for spec in servers],
        services=[_marked(spec, mark) for spec in services],
        endpoints=endpoints,
        postgres_is_ours=not environment.get(POSTGRES_URL),
    )


def _marked(spec: Spec, mark: Mapping[str, str]) -> Spec:
    return dataclasses.replace(spec, environment={**spec.environment, **mark})


def _installation(request: Request) -> Installation:
    wanted: dict[str, int | None] = {}
    if request.servers == PRIVATE:  # With Docker, containers that run already hold their ports.
        wanted |= dict.fromkeys((*rabbitmq.PORT_NAMES, *postgres.PORT_NAMES))
    for process in request.table:
        wanted[process.name] = None if request.throwaway else process.preferred_port
    accounts = (definitions.APPLICATION_USER, definitions.PLANT_USER, postgres.SUPERUSER)
    installation = Installation.load(request.directory)
    return installation.with_ports(wanted).with_passwords([*accounts, *databases.NAMES])


def _servers(
    request: Request, installation: Installation, environment: Mapping[str, str]
) -> tuple[list[Spec], Endpoints]:
    """Describe the servers to start; an address in the environment replaces a server."""
    specs: list[Spec] = []
    found = docker.endpoints(installation) if request.servers == docker.KIND else Endpoints()
    amqp, database = environment.get(AMQP_URL), environment.get(POSTGRES_URL)
    if amqp:
        found = dataclasses.replace(found, amqp=amqp, plant_amqp=None)
    elif request.servers == PRIVATE and request.wants("rabbitmq"):
        node = _node(request, installation)
        node.write_configuration()
        specs += [node.epmd(), node.server()]
        found = dataclasses.replace(
            found,
            amqp=node.url(),
            plant_amqp=node.url(definitions.PLANT_USER),
            rabbitmq_management=node.management_url(),
        )
    if database:
        found = dataclasses.replace(found, postgres=database)
    elif request.servers == PRIVATE and request.wants("postgres"):
        cluster = _cluster(request, installation)
        specs.append(cluster.server())
        found = dataclasses.replace(found, postgres=cluster.url(database="postgres"))
    return specs, found.with_databases(installation.passwords)


def _node(request: Request, installation: Installation) -> rabbitmq.Node:
    return rabbitmq.Node(
        directory=request.directory / "rabbitmq",
        ports=installation.ports,
        passwords=installation.passwords,
        topology=definitions.topology(ROOT),
        logs=request.directory / "logs",
        throwaway=request.throwaway,
    )


def _cluster(request: Request, installation: Installation) -> postgres.Cluster:
    place = request.directory
    if postgres.system_account() != Account():
        place = place_for_other_user(request.directory)
    return postgres.Cluster(
        place=place,
        port=installation.ports["postgres"],
        password=installation.passwords[postgres.SUPERUSER],
        logs=request.directory / "logs",
        throwaway=request.throwaway,
    )
