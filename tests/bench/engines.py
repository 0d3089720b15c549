"""The engines that are compared: how each is installed, started and known to have stored all."""

import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from . import environments
from .places import PEERS

Ended = Callable[["asyncpg.Connection", int], Awaitable[bool]]
"""Whether the ends of so many jobs are stored, counted from the start of the run."""


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One engine with one way of using it.

    `jobs` is how many are measured at once: about a second's worth, so that rounds are short.
    """

    name: str
    package: str
    requirements: tuple[str, ...] = ()
    variant: str = ""
    record: str
    """What is left in a database of a job that has ended."""
    tuning: str
    client: tuple[str, ...]
    worker: tuple[str, ...]
    jobs: int
    ended: Ended | None = None
    """None for an engine that stores nothing: a job that has run has ended."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def is_ours(self) -> bool:
        """Whether this is the engine that the others are compared with."""
        return self.package == "lineshaft"

    def installed(self) -> "Installed":
        """Install it when it is not there, and return it with the paths of its programs."""
        if self.is_ours:
            return Installed(engine=self, programs=Path(sys.executable).parent, version="")
        if self.package == "graphile-worker":
            place = environments.node_environment(self.package, self.requirements)
            version = environments.node_version(place, self.package)
            return Installed(engine=self, programs=place, version=version)
        programs = environments.python_environment(self.package, self.requirements)
        version = environments.python_version(programs, self.package)
        return Installed(engine=self, programs=programs, version=version)


@dataclass(frozen=True, kw_only=True)
class Installed:
    """An engine that can be started."""

    engine: Engine
    programs: Path
    version: str

    def command(self, words: tuple[str, ...], queue: str) -> list[str]:
        """Return the command with the path of its program and the name of the run's queue."""
        program, *rest = (word.replace("QUEUE", queue) for word in words)
        path = self.programs / program
        return [str(path) if path.exists() else program, *rest]

    def environment(
        self, amqp_url: str, postgres_url: str, queue: str, records: Path
    ) -> dict[str, str]:
        """Return what its processes find in their environment."""
        return {
            **os.environ,
            "PYTHONPATH": str(PEERS),
            "BENCH_AMQP_URL": amqp_url,
            "BENCH_POSTGRES_URL": postgres_url,
            "BENCH_QUEUE": queue,
            "BENCH_RECORDS": str(records),
            "BENCH_VARIANT": self.engine.variant,
            "BENCH_NODE_MODULES": str(self.programs / "node_modules"),
            "LINESHAFT_AMQP_URL": amqp_url,
            "LINESHAFT_POSTGRES_URL": postgres_url,
            "LINESHAFT_HTTP_PORT": "0",
            "LINESHAFT_LOG_LEVEL": "warning",
            **self.engine.environment,
        }


def none_left(query: str) -> Ended:
    """Ask whether a query for jobs that have not ended finds none."""

    async def ended(database: "asyncpg.Connection", jobs: int) -> bool:
        return not await database.fetchval(f"SELECT EXISTS ({query})")

    return ended


def all_stored(query: str) -> Ended:
    """Ask whether a query counts all jobs."""

    async def ended(database: "asyncpg.Connection", jobs: int) -> bool:
        return await database.fetchval(query) >= jobs

    return ended


OURS_ENDED = none_left(
    "SELECT FROM jobs WHERE state IN ('scheduled', 'queued', 'running', 'retrying')"
)
CELERY = (
    *("celery", "-A", "celery_peer", "worker", "-Q", "QUEUE", "-l", "ERROR", "-P", "solo"),
    *("--without-gossip", "--without-mingle", "--without-heartbeat"),
)
CELERY_PACKAGES = ("celery[sqlalchemy]==5.7.0", "psycopg2-binary==2.9.12")

ENGINES = (
    Engine(
        name="lineshaft, 100 jobs per message",
        package="lineshaft",
        variant="bundled",
        record="job, attempts, result; events",
        tuning="SubmitJobs of 100 jobs, 5 messages per publish",
        client=("python", "lineshaft_client.py"),
        worker=("python", "-m", "lineshaft_job_runner"),
        jobs=10_000,
        ended=OURS_ENDED,
    ),
    Engine(
        name="lineshaft, one by one",
        package="lineshaft",
        variant="one-by-one",
        record="job, attempts, result; events",
        tuning="SubmitJob, 500 messages per publish",
        client=("python", "lineshaft_client.py"),
        worker=("python", "-m", "lineshaft_job_runner"),
        jobs=10_000,
        ended=OURS_ENDED,
    ),
    Engine(
        name="graphile-worker",
        package="graphile-worker",
        requirements=("graphile-worker@0.17.3",),
        record="none: the row is deleted",
        tuning="addJobs of 500, localQueue 1,000, completions in batches, 24 at once",
        client=("node", "graphile_peer.mjs"),
        worker=("node", "graphile_peer.mjs", "worker"),
        jobs=20_000,
        ended=none_left("SELECT FROM graphile_worker._private_jobs"),
    ),
    Engine(
        name="pgqueuer",
        package="pgqueuer",
        requirements=("pgqueuer==1.6.0", "asyncpg", "uvloop"),
        record="a log row",
        tuning="enqueue of 500, batch_size 1,000, uvloop",
        client=("python", "pgqueuer_peer.py"),
        worker=("python", "pgqueuer_peer.py", "worker"),
        jobs=10_000,
        ended=none_left("SELECT FROM pgqueuer"),
    ),
    Engine(
        name="taskiq-aio-pika, quorum queue",
        package="taskiq-aio-pika",
        requirements=("taskiq-aio-pika==0.6.1", "taskiq==0.13.0", "uvloop"),
        record="none",
        tuning="100 publishes at once, prefetch 500, 200 tasks at once",
        client=("python", "taskiq_peer.py"),
        worker=(
            *("taskiq", "worker", "taskiq_peer:broker", "--workers", "1"),
            *("--max-async-tasks", "200", "--max-prefetch", "500"),
            *("--log-level", "ERROR", "--no-configure-logging"),
        ),
        jobs=3_000,
    ),
    Engine(
        name="dramatiq",
        package="dramatiq",
        requirements=("dramatiq[rabbitmq]==2.2.1",),
        record="none",
        tuning="4 client threads, 8 worker threads, prefetch 500, confirms",
        client=("python", "dramatiq_peer.py"),
        worker=(
            "dramatiq",
            "dramatiq_peer",
            "-p",
            "1",
            "-t",
            "8",
            "-Q",
            "QUEUE",
            "--skip-logging",
        ),
        jobs=2_000,
        environment={"dramatiq_queue_prefetch": "500"},
    ),
    Engine(
        name="celery",
        package="celery",
        requirements=CELERY_PACKAGES,
        variant="no-results",
        record="none",
        tuning="pool solo, 4 client threads, confirms, late acknowledgement, prefetch 128",
        client=("python", "celery_peer.py"),
        worker=CELERY,
        jobs=2_000,
    ),
    Engine(
        name="celery, results in PostgreSQL",
        package="celery",
        requirements=CELERY_PACKAGES,
        variant="results",
        record="result",
        tuning="the same, results through SQLAlchemy and psycopg2",
        client=("python", "celery_peer.py"),
        worker=CELERY,
        jobs=500,
        ended=all_stored("SELECT count(*) FROM celery_taskmeta WHERE status = 'SUCCESS'"),
    ),
    Engine(
        name="procrastinate",
        package="procrastinate",
        requirements=("procrastinate==3.10.0", "psycopg[binary,pool]", "uvloop"),
        record="job, events",
        tuning="batch_defer of 500, 20 at once, pool of 10, uvloop",
        client=("python", "procrastinate_peer.py"),
        worker=("python", "procrastinate_peer.py", "worker"),
        jobs=1_000,
        ended=none_left("SELECT FROM procrastinate_jobs WHERE status IN ('todo', 'doing')"),
    ),
)
