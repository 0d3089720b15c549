"""Mails per second to one SMTP server on this machine, ours beside the usual ways.

Ours runs as a job: in a child process of a job-runner, each mail recorded in PostgreSQL before it
is handed over and after the answer. django-post_office keeps a row per mail as well and marks it
after a batch; smtplib in a loop remembers nothing. Each round measures all; the table has medians.
"""

import argparse
import asyncio
import os
import smtplib
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Generator
from contextlib import contextmanager
from email.message import EmailMessage
from pathlib import Path

from lineshaft_common import messaging, postgres
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.jobs import GetJob, JobView, SubmitJob
from lineshaft_job_runner.__main__ import run_engine
from lineshaft_job_runner.settings import Settings
from pydantic import JsonValue

from . import environments, report, servers
from .places import PEERS
from .running import StuckError

POST_OFFICE = ("django==5.2.*", "django-post_office>=3.10", "psycopg[binary]>=3.2")
SECONDS_MAX = 300.0


@contextmanager
def sink() -> Generator[int]:
    """Run the SMTP server in a process of its own; gives its port."""
    command = [sys.executable, str(PEERS / "smtp_sink.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def by_smtplib(port: int, mails: int) -> float:
    """Send over one connection and remember nothing; the seconds it took."""
    began = time.perf_counter()
    with smtplib.SMTP("127.0.0.1", port) as server:
        for number in range(mails):
            message = EmailMessage()
            message["From"] = "plant@acme.example"
            message["To"] = f"p{number}@acme.example"
            message["Subject"] = f"Order {number}"
            message.set_content(f"Order {number} is late.\n")
            server.send_message(message)
    return time.perf_counter() - began


def by_post_office(private: servers.Servers, port: int, mails: int) -> float:
    """Queue and send with django-post_office; the seconds that sending took."""
    python = environments.python_environment("post_office", POST_OFFICE) / "python"
    command = [str(python), str(PEERS / "django_outbox.py"), private.postgres_url, str(port)]
    done = subprocess.run(
        [*command, str(mails)], capture_output=True, text=True, check=False, timeout=SECONDS_MAX
    )
    if done.returncode:
        raise StuckError(done.stderr[-2000:])
    return float(done.stdout.splitlines()[-1])


async def by_job(private: servers.Servers, port: int, mails: int) -> float:
    """Run one job; the seconds from its start to its end."""
    os.environ |= {
        "LINESHAFT_MAIL_HOST": "127.0.0.1",
        "LINESHAFT_MAIL_PORT": str(port),
        "LINESHAFT_MAIL_SECURITY": "none",
        "LINESHAFT_MAIL_SENDER": "plant@acme.example",
        "LINESHAFT_MAIL_PER_MINUTE_MAX": "1000000",
    }
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.model_validate(
            {
                "amqp_url": private.amqp_url,
                "postgres_url": private.postgres_url,
                "object_store_url": Path(folder).as_uri(),
            }
        )
        async with (
            postgres.connect(
                private.postgres_url, "lineshaft_common", "lineshaft_job_runner", name="bench"
            ) as pool,
            messaging.connect(private.amqp_url, name="bench") as bus,
            run_engine(settings, pool, bus, leases=pool),
        ):
            view = await _run(bus, mails)
    assert view.result is not None, view.error
    assert view.result["sent"] == mails
    assert view.started_at is not None
    assert view.finished_at is not None
    return (view.finished_at - view.started_at).total_seconds()


async def _run(bus: messaging.Bus, mails: int) -> JobView:
    people: JsonValue = [
        {"address": f"p{number}@acme.example", "variables": {"number": number}}
        for number in range(mails)
    ]
    command = SubmitJob(
        job_id=uuid7(),
        job_type="email.send",
        parameters={
            "to": people,
            "subject": "Order {{ number }}",
            "text": "Order {{ number }} is late.\n",
        },
    )
    await bus.ask(command, tenant="acme", source="/services/bench", deadline_seconds=30)
    async with asyncio.timeout(SECONDS_MAX):
        while True:
            found = await bus.ask(
                GetJob(job_id=command.job_id), tenant="acme", source="/services/bench"
            )
            if found.job.state.is_final:
                return found.job
            await asyncio.sleep(0.1)


def main() -> None:
    """Measure all in each round and print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mails", type=int, default=700)
    arguments = parser.parse_args()
    rates: dict[str, list[float]] = defaultdict(list)
    with servers.private() as private, sink() as port:
        for _ in range(arguments.rounds):
            asyncio.run(private.start_afresh())
            seconds = {"email.send": asyncio.run(by_job(private, port, arguments.mails))}
            asyncio.run(private.start_afresh())
            seconds["django-post_office"] = by_post_office(private, port, arguments.mails)
            seconds["smtplib, remembers nothing"] = by_smtplib(port, arguments.mails)
            for name, taken in seconds.items():
                rates[name].append(arguments.mails / taken)
                report.write("email", {"engine": name, "mails_per_second": rates[name][-1]})
    ours = statistics.median(rates["email.send"])
    rows = [["way", "mails/s", "ours is"]]
    for name, found in rates.items():
        rate = statistics.median(found)
        rows.append([name, report.number(rate), f"{ours / rate:.2f}x"])
    report.show(rows)
