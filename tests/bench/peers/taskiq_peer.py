"""Taskiq on RabbitMQ with a quorum queue: its worker imports the broker, run it is the client."""
# Runs in an environment of its own, where the checker does not look.
# pyright: basic, reportMissingImports=false

import asyncio
import os
import time

from client import serve_async
from records import note
from taskiq_aio_pika import AioPikaBroker
from taskiq_aio_pika.queue import Queue, QueueType

AT_ONCE = 100

broker = AioPikaBroker(
    os.environ["BENCH_AMQP_URL"],
    qos=500,
    task_queues=[Queue(name=os.environ["BENCH_QUEUE"], type=QueueType.QUORUM, declare=True)],
)


@broker.task(task_name="note")
async def record(submitted_at: float) -> None:
    """Do what every measured job does."""
    note(submitted_at)


async def submit(count: int) -> None:
    """Publish with confirms, many of them under way at once."""
    for start in range(0, count, AT_ONCE):
        size = min(AT_ONCE, count - start)
        await asyncio.gather(*(record.kiq(time.time()) for _ in range(size)))


async def main() -> None:
    """Serve as client."""
    await broker.startup()
    await serve_async(submit)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
