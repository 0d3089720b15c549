"""Our own processes, for benchmarks that have no peer."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from . import running
from .engines import ENGINES, Installed
from .places import WORKPLACE
from .running import Client, Records
from .servers import Servers

JOB_TYPE = "bench.note"


def bundled() -> Installed:
    """Return our engine with submissions in bundles."""
    return next(one for one in ENGINES if one.variant == "bundled").installed()


def environment(servers: Servers, records: Path) -> dict[str, str]:
    """Return what our processes find in their environment."""
    return bundled().environment(servers.amqp_url, servers.postgres_url, "", records)


@asynccontextmanager
async def job_runner(servers: Servers, records: Records) -> AsyncGenerator[int]:
    """Run a job-runner for the time of the block; its process id."""
    command = bundled().command(bundled().engine.worker, "")
    log = WORKPLACE / "worker-lineshaft.log"
    async with running.worker(command, environment(servers, records.path), log) as pid:
        yield pid


@asynccontextmanager
async def submitter(servers: Servers, records: Records) -> AsyncGenerator[Client]:
    """Run a client that submits in bundles for the time of the block."""
    command = bundled().command(bundled().engine.client, "")
    async with running.client(command, environment(servers, records.path)) as client:
        yield client
