"""The client of our own engine: single SubmitJob messages, or SubmitJobs of 100."""

import asyncio
import os
import sys
import time

import structlog
import uvloop
from client import serve_async
from lineshaft_common import messaging
from lineshaft_contracts.envelope import Envelope, envelop, uuid7
from lineshaft_contracts.jobs import SUBMISSIONS_MAX, BulkSubmission, SubmitJob, SubmitJobs

MESSAGES_AT_ONCE = 500
JOB_TYPE = "bench.note"


def single() -> Envelope[SubmitJob]:
    """Write one job."""
    command = SubmitJob(
        job_id=uuid7(), job_type=JOB_TYPE, parameters={"submitted_at": time.time()}
    )
    return envelop(command, source="/services/bench", tenant="acme")


def bundle(size: int) -> Envelope[SubmitJobs]:
    """Write a message of many jobs."""
    now = time.time()
    jobs = tuple(
        BulkSubmission(job_id=uuid7(), job_type=JOB_TYPE, parameters={"submitted_at": now})
        for _ in range(size)
    )
    return envelop(SubmitJobs(jobs=jobs), source="/services/bench", tenant="acme")


def messages(count: int) -> list[Envelope[SubmitJob]] | list[Envelope[SubmitJobs]]:
    """Write what submits so many jobs."""
    if os.environ["BENCH_VARIANT"] == "one-by-one":
        return [single() for _ in range(count)]
    sizes = [min(SUBMISSIONS_MAX, count - done) for done in range(0, count, SUBMISSIONS_MAX)]
    return [bundle(size) for size in sizes]


async def main() -> None:
    """Serve as client."""
    async with messaging.connect(os.environ["BENCH_AMQP_URL"], name="bench") as bus:

        async def submit(count: int) -> None:
            for start in range(0, count, MESSAGES_AT_ONCE):
                size = min(MESSAGES_AT_ONCE, count - start)
                for refused in await bus.publish_many(messages(size)):
                    if refused:
                        raise refused

        await serve_async(submit)


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    uvloop.install()
    asyncio.run(main())
