"""What a claim costs while 1,000 and while 1,000,000 jobs wait, and the plan that it runs by.

The waiting jobs are put into the table by SQL, of ten tenants and one job type that is served.
Claims are made by the job-runner's own store, of 100 jobs each; what they took is deleted before
the next, as the end of a job does, and replaced. The plan is what `auto_explain` says of the very
statements. Then a job-runner starts, and the first jobs that it begins are timed.
"""

import argparse
import asyncio
import json
import statistics
import time
import warnings
from collections.abc import Iterator
from typing import Any

import asyncpg
from lineshaft_common import postgres
from lineshaft_job_runner.store.jobs import JobStore

from . import ours, report, running, servers
from .cpu import Meter
from .servers import Servers, connect

WAITING = (1_000, 10_000, 1_000_000)
CLAIMS = 50
CLAIM_JOBS = 100
DRAINED_MAX = 5_000
STUCK_SECONDS = 300.0

WAIT = """
INSERT INTO jobs (id, tenant, type, state, priority, parameters, rank, ready_at, attempts_max,
                  timeout_seconds)
SELECT gen_random_uuid(), 'tenant-' || n % 10, $2, 'queued', 2, '{"submitted_at": 0}',
       now() + n * interval '1 microsecond', now(), 3, 30
FROM generate_series(1, $1::integer) AS n
"""
EXPLAIN = """
LOAD 'auto_explain';
SET auto_explain.log_min_duration = 0;
SET auto_explain.log_analyze = on;
SET auto_explain.log_format = json;
SET client_min_messages = log;
"""


async def fill(private: Servers, waiting: int) -> None:
    """Make the tables and let so many jobs wait."""
    await private.start_afresh()
    async with postgres.connect(
        private.postgres_url, "lineshaft_common", "lineshaft_job_runner", name="bench"
    ):
        pass
    async with connect(private.postgres_url) as database:
        await database.execute(WAIT, waiting, ours.JOB_TYPE)
        await database.execute("VACUUM ANALYZE jobs")


async def claims(private: Servers) -> list[float]:
    """Claim some times; milliseconds of each claim."""
    spent: list[float] = []
    async with (
        postgres.connect(private.postgres_url, name="bench") as pool,
        connect(private.postgres_url) as database,
    ):
        store = JobStore(pool, worker="bench", on_announced=lambda: None)
        for _ in range(CLAIMS):
            began = time.perf_counter()
            taken = await store.claim([ours.JOB_TYPE], limit=CLAIM_JOBS, lease_seconds=60)
            spent.append((time.perf_counter() - began) * 1e3)
            ids = [job.id for job in taken]
            await database.execute("DELETE FROM jobs WHERE id = ANY($1::uuid[])", ids)
            await database.execute(WAIT, len(taken), ours.JOB_TYPE)
    return spent


async def plans(private: Servers) -> list[dict[str, Any]]:
    """Claim once, and return the plan of every statement that this took."""
    found: list[dict[str, Any]] = []

    def listen(_: object, message: Any) -> None:
        _, mark, plan = str(message.message).partition("plan:\n")
        if mark:
            found.append(json.loads(plan))

    async def explain(connection: Any) -> None:
        await connection.execute(EXPLAIN)
        connection.add_log_listener(listen)

    # The pool mentions a listener that stays for as long as the pool does: so it is meant.
    warnings.simplefilter("ignore", asyncpg.InterfaceWarning)
    async with asyncpg.create_pool(
        private.postgres_url, init=explain, min_size=1, max_size=1
    ) as pool:
        store = JobStore(pool, worker="bench", on_announced=lambda: None)
        await store.claim([ours.JOB_TYPE], limit=CLAIM_JOBS, lease_seconds=60)
    return found


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Return how a plan reads the table of jobs."""
    if node.get("Relation Name") == "jobs" and node["Node Type"] != "ModifyTable":
        yield {
            "scan": node["Node Type"],
            "index": node.get("Index Name"),
            "condition": node.get("Index Cond", node.get("Filter")),
            "rows": node["Actual Rows"] * node["Actual Loops"],
            "heap_fetches": node.get("Heap Fetches"),
        }
    for child in node.get("Plans", ()):
        yield from scans(child)


async def drained(private: Servers, jobs: int) -> dict[str, float]:
    """Start a job-runner, and time the first of the jobs that wait."""
    async with running.records() as records, ours.job_runner(private, records) as pid:
        await records.reach(1, seconds=STUCK_SECONDS)
        meter = Meter(worker=[pid], servers=private.pids)
        first, began, before = records.count(), time.monotonic(), meter.read()
        await records.reach(jobs, seconds=STUCK_SECONDS)
        done, spent = records.count() - first, time.monotonic() - began
        cpu = (meter.read() - before).figures(units=max(1, done), seconds=spent)
        return {"drain_jobs_per_second": round(done / spent)} | cpu


async def measure(private: Servers, waiting: int) -> dict[str, float]:
    """Measure with so many waiting jobs."""
    await fill(private, waiting)
    took = await claims(private)
    statements = await plans(private)
    for statement in statements:
        reads = list(scans(statement["Plan"]))
        if reads:
            about = {"waiting": waiting, "statement": statement["Query Text"].split()[:6]}
            report.write("backlog-plans", about | {"scans": reads})
    figures = {
        "claim_p50_ms": round(statistics.median(took), 2),
        "claim_p90_ms": round(statistics.quantiles(took, n=10)[8], 2),
    }
    if waiting > DRAINED_MAX:
        figures |= await drained(private, DRAINED_MAX)
    report.write("backlog", {"waiting": waiting} | figures)
    return figures


async def all_sizes(private: Servers) -> list[dict[str, float]]:
    """Measure with each number of waiting jobs."""
    return [await measure(private, waiting) for waiting in WAITING]


def main() -> None:
    """Run it on servers of its own."""
    argparse.ArgumentParser(prog="bench backlog", description=__doc__).parse_args()
    with servers.private() as private:
        found = asyncio.run(all_sizes(private))
    rows = [["waiting", "claim of 100 p50, ms", "p90, ms", "first 5,000, jobs/s"]]
    keys = ("claim_p50_ms", "claim_p90_ms", "drain_jobs_per_second")
    for waiting, figures in zip(WAITING, found, strict=True):
        rows.append([f"{waiting:,}", *(report.number(figures.get(key)) for key in keys)])
    report.show(rows)


if __name__ == "__main__":
    main()
