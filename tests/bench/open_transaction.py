"""Jobs per second and dead rows over time, without and with an open reading transaction.

PostgreSQL keeps every row version that the oldest open snapshot might still see. A report or a
backup that reads for minutes therefore lets dead rows pile up in a table whose rows come and go,
and every scan has to step over them. This shows what that costs here.
"""

import argparse
import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from . import ours, report, running, servers
from .cpu import Meter
from .running import Client, Records
from .servers import Servers, connect

SAMPLE_SECONDS = 10.0
JOBS_AT_ONCE = 1_000
DRAIN_SECONDS = 300.0
STATE = """
SELECT n_dead_tup AS dead_rows, pg_total_relation_size(relid) >> 20 AS mebibytes,
       (SELECT sum(n_dead_tup)::bigint FROM pg_stat_user_tables) AS dead_rows_of_all_tables
FROM pg_stat_user_tables WHERE relname = 'jobs'
"""


@asynccontextmanager
async def reader(url: str, *, wanted: bool) -> AsyncGenerator[None]:
    """Hold a snapshot for the time of the block, as a long report or a backup does."""
    if not wanted:
        yield
        return
    async with connect(url) as database, database.transaction(isolation="repeatable_read"):
        await database.fetchval("SELECT count(*) FROM jobs")
        yield


async def submit_steadily(client: Client, records: Records, until: float) -> None:
    """Keep a little more than one batch of jobs under way, so that the worker never idles."""
    submitted = records.count()
    while time.monotonic() < until:
        await client.submit(JOBS_AT_ONCE)
        submitted += JOBS_AT_ONCE
        await records.reach(submitted - JOBS_AT_ONCE, seconds=DRAIN_SECONDS)


async def observe(private: Servers, *, seconds: float, read: bool) -> list[dict[str, float]]:
    """Run jobs for so long, and look every ten seconds."""
    await private.start_afresh()
    found: list[dict[str, float]] = []
    async with (
        running.records() as records,
        ours.job_runner(private, records) as pid,
        ours.submitter(private, records) as client,
        connect(private.postgres_url) as database,
    ):
        await client.submit(JOBS_AT_ONCE)
        await records.reach(JOBS_AT_ONCE, seconds=DRAIN_SECONDS)
        meter = Meter(worker=[pid], servers=private.pids)
        async with reader(private.postgres_url, wanted=read), asyncio.TaskGroup() as group:
            began = time.monotonic()
            group.create_task(submit_steadily(client, records, began + seconds))
            while time.monotonic() - began < seconds:
                cpu, done, since = meter.read(), records.count(), time.monotonic()
                await asyncio.sleep(SAMPLE_SECONDS)
                jobs, spent = records.count() - done, time.monotonic() - since
                row = {"second": round(time.monotonic() - began), "jobs_per_second": jobs / spent}
                row |= (meter.read() - cpu).figures(units=max(1, jobs), seconds=spent)
                row |= dict(await database.fetchrow(STATE) or {})
                found.append(row)
                report.write("open_transaction", {"open_transaction": read} | row)
    return found


def table(plain: list[dict[str, float]], read: list[dict[str, float]]) -> list[list[str]]:
    """Write what was seen at the same second without and with the transaction."""
    columns = {
        "jobs_per_second": "jobs/s",
        "total_cpu_us": "worker and servers CPU, us/job",
        "dead_rows": "dead rows of jobs",
        "mebibytes": "MiB of jobs",
    }
    heads = [f"{name}, {how}" for name in columns.values() for how in ("plain", "open")]
    rows = [["after", *heads]]
    for one, other in zip(plain, read, strict=False):
        cells = [report.number(row[key]) for key in columns for row in (one, other)]
        rows.append([f"{one['second']:.0f} s", *cells])
    return rows


def main() -> None:
    """Run it on servers of its own."""
    parser = argparse.ArgumentParser(prog="bench open_transaction", description=__doc__)
    parser.add_argument("--minutes", type=float, default=3.0, help="without it, and with it")
    seconds = parser.parse_args().minutes * 60
    with servers.private() as private:
        plain = asyncio.run(observe(private, seconds=seconds, read=False))
        read = asyncio.run(observe(private, seconds=seconds, read=True))
    report.show(table(plain, read))


if __name__ == "__main__":
    main()
