"""The whole life of a local system, with real servers and a stand-in service."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from pathlib import Path

import aio_pika
import asyncpg
import pytest
from aiormq.exceptions import ChannelAccessRefused
from lineshaft_cli.local import databases, leftovers
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.state import State, StateFile
from lineshaft_cli.local.throwaway import Servers

pytestmark = pytest.mark.integration

DEADLINE_SECONDS = 90
SERVICE = """
import asyncio, http.server, os, subprocess, sys, asyncpg

async def count():
    connection = await asyncpg.connect(os.environ["LINESHAFT_POSTGRES_URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS starts (at timestamptz DEFAULT now())")
    await connection.execute("INSERT INTO starts DEFAULT VALUES")
    print("starts:", await connection.fetchval("SELECT count(*) FROM starts"), flush=True)

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

    protocol_version = "HTTP/1.1"

asyncio.run(count())
# Leaves its session, so that no group or terminal takes it along.
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
port = int(os.environ["LINESHAFT_HTTP_PORT"])
http.server.HTTPServer(("127.0.0.1", port), Ready).serve_forever()
"""


class System:
    """A local system in a directory of its own, driven by the command as a user would."""

    def __init__(self, place: Path) -> None:
        self.directory = place / "system"
        (place / "stand_in.py").write_text(SERVICE, encoding="utf-8")
        (place / "broken.py").write_text("raise SystemExit('no such table')", encoding="utf-8")
        self._place = place

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        hidden = {"LINESHAFT_AMQP_URL", "LINESHAFT_POSTGRES_URL", "HOME"}
        inherited = {key: value for key, value in os.environ.items() if key not in hidden}
        return subprocess.run(
            [str(Path(sys.executable).with_name("lineshaft")), *arguments],
            env={
                **inherited,
                "PYTHONPATH": str(self._place),
                "LINESHAFT_DIRECTORY": str(self.directory),
            },
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE_SECONDS * 4,
        )

    def up(self, module: str = "stand_in") -> "subprocess.CompletedProcess[str]":
        table = self._place / "table.json"
        entry = {"name": "one", "module": module, "database": "gateway"}
        table.write_text(json.dumps([entry]), encoding="utf-8")
        return self.run("up", "--processes", str(table))

    def state(self) -> State:
        state = StateFile(self.directory).read()
        assert state is not None
        return state

    def pid(self, name: str) -> int:
        identity = self.state().processes[name].id
        return 0 if identity is None else identity.pid


@pytest.fixture
def system(tmp_path: Path) -> Generator[System]:
    system = System(tmp_path)
    yield system
    assert system.run("clean").returncode == 0
    assert not system.directory.exists()
    assert list(leftovers.find(system.directory)) == []


def _until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_up_down_and_up_again_keeps_the_data_and_leaves_no_process(system: System) -> None:
    first = system.up()
    assert first.returncode == 0, first.stdout
    assert "already running" in system.up().stdout

    os.kill(system.pid("one"), signal.SIGKILL)
    _until(lambda: system.state().processes["one"].restarts == 1)
    _until(lambda: system.state().processes["one"].phase == "ready")

    status = json.loads(system.run("status", "--json").stdout)
    assert status["running"]
    assert status["processes"]["one"]["usage"]["rss_bytes"] > 0

    supervisor = system.state().supervisor
    supervisor.send(signal.SIGKILL)
    assert supervisor.wait_gone(timeout_seconds=DEADLINE_SECONDS)
    again = system.up()
    assert again.returncode == 0, again.stdout
    assert "starts: 3" in system.run("logs", "one").stdout

    assert "stopped" in system.run("down").stdout
    assert list(leftovers.find(system.directory)) == []
    assert "nothing was running" in system.run("down").stdout
    assert system.run("status").returncode == 3


def test_a_service_that_cannot_start_is_named_with_its_log_and_nothing_is_left(
    system: System,
) -> None:
    failed = system.up("broken")
    assert failed.returncode == 1
    assert "one does not start: exited with 1" in failed.stdout
    assert "no such table" in failed.stdout
    assert list(leftovers.find(system.directory)) == []


async def test_a_killed_broker_returns_with_its_messages_and_keeps_the_plant_in_its_place(
    servers_to_kill: Servers,
) -> None:
    url, plant_url = servers_to_kill.endpoints.amqp, servers_to_kill.endpoints.plant_amqp
    assert url is not None
    assert plant_url is not None
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        ingress = await channel.declare_exchange("plant.ingress", "direct", passive=True)
        queue = await channel.declare_queue("kept", durable=True)
        await queue.bind(ingress, "kept")
        async with await aio_pika.connect(plant_url) as plant:
            body = aio_pika.Message(b"kept", delivery_mode=2)
            writing = await plant.channel()
            await (await writing.get_exchange("plant.ingress", ensure=False)).publish(body, "kept")
            other = await writing.get_exchange("jobs.commands", ensure=False)
            with pytest.raises(ChannelAccessRefused):
                await other.publish(body, "kept")
            reading = await plant.channel()
            with pytest.raises(ChannelAccessRefused):
                await (await reading.get_queue("kept", ensure=False)).get()

    killed = servers_to_kill.process("rabbitmq")
    assert killed is not None
    killed.send(signal.SIGKILL)
    _until(lambda: servers_to_kill.restarts("rabbitmq") == 1)
    _until(lambda: servers_to_kill.state().processes["rabbitmq"].phase == "ready")
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        kept = await channel.get_queue("kept")
        message = await kept.get(no_ack=True)
        assert message.body == b"kept"


async def test_databases_are_made_once_and_a_foreign_password_is_an_error(
    postgres_admin_url: str,
) -> None:
    for _ in range(2):
        await databases.provision(postgres_admin_url, {"one_service": "secret"}, ours=False)
    url = databases.url_of(postgres_admin_url, name="one_service", password="secret")
    connection = await asyncpg.connect(url)
    assert await connection.fetchval("SELECT current_database()") == "one_service"
    await connection.close()
    with pytest.raises(LocalError, match="one_service exists"):
        await databases.provision(postgres_admin_url, {"one_service": "other"}, ours=False)
    await databases.provision(postgres_admin_url, {"one_service": "other"}, ours=True)
