"""Procrastinate on PostgreSQL: `worker` runs jobs, without an argument it is the client."""
# Runs in an environment of its own, where the checker does not look.
# pyright: basic, reportMissingImports=false

import asyncio
import logging
import os
import sys
import time

import procrastinate
import uvloop
from client import serve_async
from records import note

CONCURRENCY = 20
BATCH = 500

connector = procrastinate.PsycopgConnector(
    conninfo=os.environ["BENCH_POSTGRES_URL"], min_size=2, max_size=10
)
app = procrastinate.App(connector=connector)


@app.task(name="note")
async def record(submitted_at: float) -> None:
    """Do what every measured job does."""
    note(submitted_at)


async def submit(count: int) -> None:
    """Defer in batches."""
    for start in range(0, count, BATCH):
        size = min(BATCH, count - start)
        await record.batch_defer_async(*[{"submitted_at": time.time()} for _ in range(size)])


async def work() -> None:
    """Run jobs until told to stop."""
    async with app.open_async():
        await app.run_worker_async(concurrency=CONCURRENCY, fetch_job_polling_interval=1.0)


async def main() -> None:
    """Make the tables and serve as client."""
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        await serve_async(submit)


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    uvloop.install()
    asyncio.run(work() if sys.argv[1:] == ["worker"] else main())
