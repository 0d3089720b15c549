"""The example worker in Node: its jobs, its death, its end; the printer is the ledger."""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
from collections import Counter
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID

import pytest
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.virtual_host import Management
from lineshaft_common import tracing
from lineshaft_contracts.jobs import JobState, JobView
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[4]
EXAMPLE = ROOT / "examples" / "worker-node"
INSTALL_SECONDS = 120
BARCODE = re.compile(r"\^FH_\^FD(LOT-\d+)-(\d{4})\^FS")


class Platform(Protocol):
    settings: Any

    def engine(self, **changes: Any) -> Any: ...
    async def submit(self, job_type: str = "label.print", **more: Any) -> UUID: ...
    async def cancel(self, job_id: UUID) -> None: ...
    async def job(self, job_id: UUID) -> JobView: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...


class Printer:
    """Takes labels over TCP like a printer on port 9100, and remembers every one that came."""

    def __init__(self) -> None:
        self.came: list[tuple[str, int]] = []
        self.texts: list[str] = []
        self.paper = asyncio.Semaphore(0)
        """One for each label that it may take; further ones wait in it."""
        self.port = 0

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        text = (await reader.read()).decode()
        found = BARCODE.search(text)
        if found is not None:
            self.texts.append(text)
            self.came.append((found[1], int(found[2])))
        try:
            await self.paper.acquire()
        finally:
            writer.close()

    def load(self, labels: int) -> None:
        for _ in range(labels):
            self.paper.release()

    async def holds(self, lot: str, number: int) -> None:
        """Wait until this label came."""
        async with asyncio.timeout(20):
            while (lot, number) not in self.came:
                await asyncio.sleep(0.02)

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[None]:
        server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            self.load(10_000)  # Whoever still waits in it.
            server.close()
            await server.wait_closed()


class Workers:
    """Starts Node workers, with an account that may do what the documents say and no more."""

    def __init__(self, folder: Path, amqp_url: str, printer: Printer) -> None:
        self._folder = folder
        self._amqp_url = amqp_url
        self._printer = printer
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, name: str, url: str | None = None) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            shutil.which("node") or "node",
            str(self._folder / "worker.mjs"),
            env={
                "PATH": os.environ["PATH"],
                "LINESHAFT_AMQP_URL": url or self._amqp_url,
                "WORKER_NAME": name,
                "LABEL_PRINTER": f"127.0.0.1:{self._printer.port}",
            },
            stdout=asyncio.subprocess.PIPE,
        )
        self._processes.append(process)
        return process

    async def stop(self) -> None:
        for process in self._processes:
            if process.returncode is None:
                process.kill()
            await process.wait()


@pytest.fixture(scope="session")
def example() -> Path:
    """A copy of the example with what it needs from npm."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are needed for the example in Node")
    folder = ROOT / ".lineshaft" / "worker-node"
    shutil.copytree(
        EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules")
    )
    lock = (folder / "package-lock.json").read_text(encoding="utf-8")
    installed = folder / "node_modules" / ".lineshaft-lock"
    if not installed.exists() or installed.read_text(encoding="utf-8") != lock:
        command = [npm, "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        try:
            subprocess.run(
                command, cwd=folder, check=True, capture_output=True, timeout=INSTALL_SECONDS
            )
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"amqplib cannot be installed: {str(error.stderr)[-300:]}")
        installed.write_text(lock, encoding="utf-8")
    return folder


@pytest.fixture
def worker_url(remote_amqp_url: str, rabbitmq_endpoints: Endpoints) -> Generator[str]:
    """The address of the broker for an account with the rights of docs/jobs.md."""
    assert rabbitmq_endpoints.rabbitmq_management is not None
    call = Management(rabbitmq_endpoints.rabbitmq_management)._call
    user, password = f"labels-{secrets.token_hex(4)}", secrets.token_urlsafe(16)
    parts = urlsplit(remote_amqp_url)
    place = f"{quote(parts.path.lstrip('/'), safe='')}/{user}"
    call("PUT", f"/users/{user}", {"password": password, "tags": ""})
    try:
        rights = {
            "configure": "^labels[.]",
            "write": "^(jobs[.]work|labels[.].*)$",
            "read": "^(jobs[.]events|labels[.].*)$",
        }
        call("PUT", f"/permissions/{place}", rights)
        topic = {
            "exchange": "jobs.events",
            "write": "^$",
            "read": "^[*][.]label[.]print[.]queued$",
        }
        call("PUT", f"/topic-permissions/{place}", topic)
        host = parts.netloc.rpartition("@")[2]
        yield urlunsplit(parts._replace(netloc=f"{user}:{password}@{host}"))
    finally:
        call("DELETE", f"/users/{user}")


@pytest.fixture
async def printer() -> AsyncGenerator[Printer]:
    printer = Printer()
    async with printer.serve():
        yield printer


@pytest.fixture
def lease_seconds() -> float:
    return 4.0


@pytest.fixture
async def workers(
    example: Path, worker_url: str, printer: Printer, platform: Platform, lease_seconds: float
) -> AsyncGenerator[Workers]:
    workers = Workers(example, worker_url, printer)
    try:
        async with platform.engine(lease_seconds=lease_seconds):
            yield workers
    finally:
        await workers.stop()


class Wire:
    """A way to the broker that can be cut."""

    def __init__(self, amqp_url: str) -> None:
        self._parts = urlsplit(amqp_url)
        self._ends: list[asyncio.StreamWriter] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        host, port = self._parts.hostname, self._parts.port
        there_reader, there = await asyncio.open_connection(host, port)
        self._ends += [writer, there]
        for source, target in ((reader, there), (there_reader, writer)):
            task = asyncio.create_task(self._carry(source, target))
            self._tasks.add(task)

    @staticmethod
    async def _carry(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
        target.close()

    def cut(self) -> int:
        """Cut all connections; how many there were."""
        cut = [end for end in self._ends if not end.is_closing()]
        for end in cut:
            end.transport.abort()
        return len(cut) // 2

    @asynccontextmanager
    async def serve(self) -> AsyncGenerator[str]:
        """Give the address of the broker behind the wire."""
        server = await asyncio.start_server(self._connect, "127.0.0.1", 0)
        account = self._parts.netloc.rpartition("@")[0]
        host = f"{account}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield urlunsplit(self._parts._replace(netloc=host))
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks)


def labels(lot: str, count: int) -> dict[str, Any]:
    return {"material_lot_id": lot, "material_definition_id": "ring^74~_µ", "labels": count}


async def test_a_worker_in_node_prints_every_label_of_every_job_once(
    workers: Workers, platform: Platform, printer: Printer
) -> None:
    printer.load(60)
    process = await workers.start("node-1")
    ids = [await platform.submit(parameters=labels(f"LOT-{n}", 3)) for n in range(20)]
    jobs = [await platform.becomes(job_id, JobState.SUCCEEDED) for job_id in ids]
    wanted = {(f"LOT-{n}", number): 1 for n in range(20) for number in (1, 2, 3)}
    assert Counter(printer.came) == wanted
    assert {job.attempts[0].worker for job in jobs} == {"node-1"}
    assert jobs[0].progress.done == 3
    result = jobs[0].result
    assert result is not None
    assert result["zpl"] == printer.texts[printer.came.index(("LOT-0", 1))]
    assert "^FH_^FDring_5E74_7E_5Fµ^FS" in str(result["zpl"])
    process.terminate()
    assert await process.wait() == 0


async def test_a_killed_worker_in_node_loses_no_job_and_the_next_one_goes_on(
    workers: Workers, platform: Platform, printer: Printer
) -> None:
    printer.load(3)
    killed = await workers.start("node-1")
    job_id = await platform.submit(parameters=labels("LOT-7", 6))
    await printer.holds("LOT-7", 4)
    killed.kill()
    await killed.wait()
    printer.load(1_000)
    await workers.start("node-2")
    job = await platform.becomes(job_id, JobState.SUCCEEDED)
    assert [(a.worker, a.outcome) for a in job.attempts] == [
        ("node-1", "lost"),
        ("node-2", "succeeded"),
    ]
    # The fourth had reached the printer, and nobody could know: it alone came twice.
    assert [number for _, number in printer.came] == [1, 2, 3, 4, 4, 5, 6]


async def test_a_worker_in_node_that_is_asked_to_stop_gives_its_jobs_back(
    workers: Workers, platform: Platform, printer: Printer
) -> None:
    printer.load(1)
    stopped = await workers.start("node-1")
    job_id = await platform.submit(parameters=labels("LOT-8", 3))
    await printer.holds("LOT-8", 2)
    stopped.terminate()
    assert await stopped.wait() == 0
    job = await platform.job(job_id)
    assert (job.state, job.attempt) == (JobState.QUEUED, 0)
    printer.load(10)
    await workers.start("node-2")
    job = await platform.becomes(job_id, JobState.SUCCEEDED)
    assert [a.outcome for a in job.attempts] == ["released", "succeeded"]
    assert [number for _, number in printer.came] == [1, 2, 2, 3]


async def test_a_worker_in_node_stops_a_cancelled_job(
    workers: Workers, platform: Platform, printer: Printer
) -> None:
    printer.load(1)
    await workers.start("node-1")
    job_id = await platform.submit(parameters=labels("LOT-9", 3))
    await printer.holds("LOT-9", 2)
    await platform.cancel(job_id)
    await platform.becomes(job_id, JobState.CANCELLED)
    assert [number for _, number in printer.came] == [1, 2]


@pytest.mark.parametrize("lease_seconds", [15.0])
async def test_a_worker_in_node_whose_connection_is_cut_keeps_its_job(
    workers: Workers, platform: Platform, printer: Printer, worker_url: str
) -> None:
    printer.load(1)
    wire = Wire(worker_url)
    async with wire.serve() as url:
        await workers.start("node-1", url)
        job_id = await platform.submit(parameters=labels("LOT-10", 3))
        await printer.holds("LOT-10", 2)
        assert wire.cut() == 1
        printer.load(10)
        job = await platform.becomes(job_id, JobState.SUCCEEDED)
    assert [a.outcome for a in job.attempts] == ["succeeded"]
    assert [number for _, number in printer.came] == [1, 2, 3]


async def test_what_a_worker_in_node_says_of_a_job_is_in_the_trace_of_its_submitter(
    workers: Workers, platform: Platform, printer: Printer, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider, exporter = TracerProvider(), InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(tracing, "TRACER", provider.get_tracer("test"))
    printer.load(1)
    await workers.start("node-1")
    with tracing.span("order") as order:
        job_id = await platform.submit(parameters=labels("LOT-11", 1))
        trace_id = tracing.current_trace_id()
    assert (await platform.becomes(job_id, JobState.SUCCEEDED)).trace_id == trace_id
    trace = order.get_span_context().trace_id
    heard = [
        span.name
        for span in exporter.get_finished_spans()
        if span.context is not None and span.context.trace_id == trace
    ]
    # The checkpoint after the label, and the end.
    assert heard.count("answer job-runner.work") == 2


async def test_a_worker_in_node_refuses_parameters_for_good(
    workers: Workers, platform: Platform
) -> None:
    process = await workers.start("node-1")
    job_id = await platform.submit(parameters={"labels": 0})
    job = await platform.becomes(job_id, JobState.FAILED)
    assert job.error is not None
    assert (job.error.code, job.error.retryable) == ("invalid_parameters", False)
    assert process.stdout is not None
    told = json.loads(await process.stdout.readline())
    assert (told["job_id"], told["outcome"]) == (str(job_id), "failed")
