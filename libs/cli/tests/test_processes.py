"""The table of processes, and what each finds in its environment."""

from pathlib import Path

import pytest
from lineshaft_cli.local import databases, plan
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.processes import SYSTEM, Process, read_table
from lineshaft_cli.local.service_environment import ServiceEnvironment

PORTS = {process.name: 30_000 + number for number, process in enumerate(SYSTEM)}
ENDPOINTS = Endpoints(
    amqp="amqp://u:p@127.0.0.1/v", postgres="postgresql://postgres:x@127.0.0.1:5/postgres"
)


def _around(endpoints: Endpoints = ENDPOINTS, **inherited: str) -> ServiceEnvironment:
    passwords = dict.fromkeys(databases.NAMES, "s")
    return ServiceEnvironment.of(
        root=Path("/root-of-it"),
        directory=Path("/directory"),
        table=SYSTEM,
        ports=PORTS,
        endpoints=endpoints.with_databases(passwords),
        inherited=inherited,
    )


def test_every_process_of_the_table_can_be_described() -> None:
    around = _around()
    for process in SYSTEM:
        spec = around.spec(process)
        assert spec.environment["LINESHAFT_HTTP_PORT"] == str(PORTS[process.name])
        assert "{" not in "".join(spec.environment[key] for key in process.environment)


def test_each_service_gets_its_own_database_and_edges_get_none() -> None:
    around = _around(LINESHAFT_POSTGRES_URL="postgresql://admin@elsewhere/postgres")
    for process in SYSTEM:
        url = around.spec(process).environment.get("LINESHAFT_POSTGRES_URL")
        if process.database is None:
            assert url is None
        else:
            assert url == f"postgresql://{process.database}:s@127.0.0.1:5/{process.database}"


def test_edges_fetch_from_the_plant_and_traces_go_to_the_monitor() -> None:
    environment = _around().spec(SYSTEM[4]).environment
    assert environment["LINESHAFT_ORIGIN_URL"] == f"http://127.0.0.1:{PORTS['plant']}"
    endpoint = environment["OTEL_EXPORTER_OTLP_ENDPOINT"]
    assert endpoint == f"http://127.0.0.1:{PORTS['monitor']}"


def test_the_environment_of_the_command_is_passed_on() -> None:
    assert _around(LINESHAFT_LOG_LEVEL="debug").common["LINESHAFT_LOG_LEVEL"] == "debug"


def test_services_without_a_server_are_refused() -> None:
    with pytest.raises(LocalError, match="postgres"):
        _around(Endpoints(amqp="amqp://u:p@127.0.0.1/v"))


def test_a_name_that_nothing_has_is_refused() -> None:
    request = plan.Request(directory=Path("/x"), table=SYSTEM, only=frozenset({"gatway"}))
    with pytest.raises(LocalError, match=r"gatway.*gateway"):
        request.check()


def test_another_table_is_read_from_json(tmp_path: Path) -> None:
    path = tmp_path / "table.json"
    path.write_text('[{"name": "a", "module": "b", "environment": {"X": "{url[a]}"}}]')
    assert read_table(path) == (Process(name="a", module="b", environment={"X": "{url[a]}"}),)
