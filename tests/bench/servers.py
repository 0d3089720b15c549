"""A private RabbitMQ and a private PostgreSQL with their default durability, for one run."""

import os
import secrets
import subprocess
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

import aio_pika
import asyncpg
from lineshaft_cli.local import apt, leftovers, throwaway
from lineshaft_cli.local.clean import remove
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.launch import Launch
from lineshaft_cli.local.stop import SUPERVISOR_SECONDS
from lineshaft_contracts.topology import TOPOLOGY

from .places import SERVERS

NAME = "bench"


@dataclass(frozen=True, kw_only=True)
class Servers:
    """Where they are; `pids` are the processes whose CPU counts as that of the servers."""

    amqp_url: str
    superuser_url: str
    gateway_url: str
    """Of the database that only the gateway uses."""
    pids: tuple[int, ...]

    @property
    def postgres_url(self) -> str:
        """Return the URL of the database that each run begins with empty."""
        return urlunsplit(urlsplit(self.superuser_url)._replace(path=f"/{NAME}"))

    async def start_afresh(self) -> None:
        """Make an empty database and empty queues, and let nothing of before be written later."""
        async with connect(self.superuser_url) as database:
            await database.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
            await database.execute(f"CREATE DATABASE {NAME}")
            await database.execute("CHECKPOINT")
        broker = await aio_pika.connect(self.amqp_url)
        async with broker:
            channel = await broker.channel()
            for queue in TOPOLOGY.queues:
                if queue.type != "stream":
                    await (await channel.get_queue(queue.name, ensure=False)).purge()


@asynccontextmanager
async def connect(url: str) -> AsyncGenerator["asyncpg.Connection"]:
    """Connect to a database for the time of the block."""
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


@contextmanager
def private() -> Generator[Servers]:
    """Run both for the time of the block and remove every trace; they end with this process.

    Those of the tests trade durability for speed, these are as the local system has them.
    """
    apt.install_missing()
    SERVERS.mkdir(parents=True, exist_ok=True)
    throwaway.remove_abandoned(SERVERS)
    directory = SERVERS / f"{os.getpid()}-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o711)
    launch = Launch(directory=directory, only=throwaway.SERVERS, parent=os.getpid())
    supervisor = launch.spawn()
    try:
        state = launch.follow(supervisor, lambda _: None)
        found = Endpoints.load(directory)
        if found.amqp is None or found.postgres is None:
            raise RuntimeError("the servers said no address")
        ids = (state.processes[name].id for name in sorted(throwaway.SERVERS))
        yield Servers(
            amqp_url=found.amqp,
            superuser_url=found.postgres,
            gateway_url=found.databases["gateway"],
            pids=tuple(one.pid for one in ids if one is not None),
        )
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(SUPERVISOR_SECONDS)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        leftovers.end(directory)
        remove(directory)
