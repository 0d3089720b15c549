"""PgQueuer on PostgreSQL: `worker` runs jobs, without an argument it is the client."""
# Runs in an environment of its own, where the checker does not look.
# pyright: basic, reportMissingImports=false

import asyncio
import os
import struct
import sys
import time
from datetime import timedelta

import asyncpg
import uvloop
from client import serve_async
from pgqueuer.db import AsyncpgDriver, AsyncpgPoolDriver
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from records import note

URL = os.environ["BENCH_POSTGRES_URL"]
BATCH = 500
RUN_AT_ONCE = 1_000


async def work() -> None:
    """Run jobs until told to stop."""
    pool = await asyncpg.create_pool(URL, min_size=2, max_size=8)
    queue = QueueManager(Queries(AsyncpgPoolDriver(pool)))

    @queue.entrypoint("note")
    async def record(job) -> None:  # noqa: ANN001 - untyped here
        note(struct.unpack("<d", job.payload)[0])

    await queue.run(dequeue_timeout=timedelta(seconds=1), batch_size=RUN_AT_ONCE)


async def main() -> None:
    """Make the tables and serve as client."""
    queries = Queries(AsyncpgDriver(await asyncpg.connect(URL)))
    await queries.install()

    async def submit(count: int) -> None:
        for start in range(0, count, BATCH):
            size = min(BATCH, count - start)
            payloads = [struct.pack("<d", time.time())] * size
            await queries.enqueue(["note"] * size, payloads, [0] * size)

    await serve_async(submit)


if __name__ == "__main__":
    uvloop.install()
    asyncio.run(work() if sys.argv[1:] == ["worker"] else main())
