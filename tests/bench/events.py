"""Plant events per second through the ingress into the log, beside what plain AMQP does here.

One event-router process, RabbitMQ and PostgreSQL, either private ones (with fsync off) or those of
LINESHAFT_AMQP_URL and LINESHAFT_POSTGRES_URL. Every event is published with a confirm into a
quorum queue, checked, recorded in PostgreSQL, published again with a confirm, and counted when it
is read from the log. `live` sends and reads at the same time; `backlog` sends while the router is
stopped, and counts from when it goes on. `plain` is one hop of the same messages by aio-pika
alone: publish with confirms into a quorum queue, consume, acknowledge. Prints one JSON line per
round.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path

import aio_pika
import asyncpg
import psutil
from aio_pika.abc import AbstractIncomingMessage
from lineshaft_cli.local import throwaway
from lineshaft_common import messaging
from lineshaft_common.messaging import LogRecord, Outgoing
from lineshaft_contracts.envelope import uuid7
from lineshaft_contracts.topology import EVENTS_LOG, INGRESS

ROOT = Path(__file__).parents[2]
BATCH = 500
BATCHES_UNDER_WAY = 8
DEADLINE_SECONDS = 300.0


def event(number: int) -> Outgoing:
    """Write one of forty presses' reports."""
    id_ = str(uuid7())
    body = {
        "specversion": "1.0",
        "id": id_,
        "source": f"/acme/north/stamping/line-{number % 4}/press-{number % 10}",
        "type": "plant.production.unit-produced.v1",
        "time": datetime.now(UTC).isoformat(),
        "tenant": "acme",
        "data": {
            "job_order_id": "JO-2026-0412",
            "material_definition_id": "piston-ring-74",
            "quantity": {
                "good": {"value": "120", "uom": "pcs"},
                "scrap": {"value": "3", "uom": "pcs"},
            },
        },
    }
    return Outgoing(
        exchange="plant.ingress",
        routing_key="normal",
        type=str(body["type"]),
        message_id=id_,
        body=json.dumps(body).encode(),
        headers={"tenant": "acme"},
    )


async def send(bus: messaging.Bus, messages: Sequence[Outgoing]) -> None:
    """Publish in order, some batches at a time."""
    slots = asyncio.Semaphore(BATCHES_UNDER_WAY)

    async def send_batch(batch: Sequence[Outgoing]) -> None:
        async with slots:
            outcomes = await bus.publish_many(batch, deadline_seconds=60)
            assert not any(outcomes), outcomes

    async with asyncio.TaskGroup() as group:
        for start in range(0, len(messages), BATCH):
            group.create_task(send_batch(messages[start : start + BATCH]))


async def read_all(records: AsyncIterator[LogRecord], messages: Sequence[Outgoing]) -> None:
    """Wait until the log has shown every one of these."""
    wanted = {message.message_id for message in messages}
    while wanted:
        wanted.discard(json.loads((await anext(records)).body)["id"])


async def live(bus: messaging.Bus, messages: Sequence[Outgoing]) -> float:
    """Send and read at the same time; events per second."""
    async with bus.read_log(EVENTS_LOG, "next") as records, asyncio.TaskGroup() as group:
        began = time.perf_counter()
        group.create_task(send(bus, messages))
        await read_all(records, messages)
        return len(messages) / (time.perf_counter() - began)


async def backlog(
    bus: messaging.Bus, messages: Sequence[Outgoing], router: psutil.Process
) -> tuple[float, float]:
    """Let the router find all messages waiting; events per second, its CPU seconds per event."""
    async with bus.read_log(EVENTS_LOG, "next") as records:
        router.suspend()
        try:
            await send(bus, messages)
        finally:
            router.resume()
        began, cpu = time.perf_counter(), sum(router.cpu_times()[:2])
        await read_all(records, messages)
        count, spent = len(messages), time.perf_counter() - began
        return count / spent, (sum(router.cpu_times()[:2]) - cpu) / count


async def plain(amqp_url: str, messages: Sequence[Outgoing]) -> float:
    """Publish and consume the same messages by aio-pika alone; messages per second."""
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        sending, receiving = await connection.channel(), await connection.channel()
        await receiving.set_qos(prefetch_count=1000)
        name = f"bench.plain.{os.getpid()}"
        queue = await receiving.declare_queue(
            name, durable=True, arguments={"x-queue-type": "quorum"}
        )
        missing, done = len(messages), asyncio.Event()

        async def receive(message: AbstractIncomingMessage) -> None:
            nonlocal missing
            await message.ack()
            missing -= 1
            if not missing:
                done.set()

        await queue.consume(receive)
        began = time.perf_counter()
        for start in range(0, len(messages), BATCH):
            ready = [
                aio_pika.Message(
                    one.body,
                    delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
                    message_id=one.message_id,
                    type=one.type,
                    headers=dict(one.headers),
                )
                for one in messages[start : start + BATCH]
            ]
            await asyncio.gather(
                *(sending.default_exchange.publish(one, routing_key=name) for one in ready)
            )
        await done.wait()
        spent = time.perf_counter() - began
        await queue.delete(if_unused=False, if_empty=False)
    return len(messages) / spent


async def consumed(bus: messaging.Bus) -> None:
    """Wait until the router has its consumers."""
    while (await bus.depth(INGRESS["normal"]))[1] == 0:
        await asyncio.sleep(0.1)


async def measure(amqp_url: str, postgres_url: str, events: int, rounds: int) -> None:
    """Start a router, warm it up, and measure."""
    environment = {
        **os.environ,
        "LINESHAFT_AMQP_URL": amqp_url,
        "LINESHAFT_POSTGRES_URL": postgres_url,
        "LINESHAFT_HTTP_PORT": "0",
        "LINESHAFT_LOG_LEVEL": "warning",
    }
    database = await asyncpg.connect(postgres_url)
    fsync = await database.fetchval("SHOW fsync")
    await database.close()
    router = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "lineshaft_event_router", env=environment, stdin=subprocess.DEVNULL
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(router.wait)
        stack.callback(router.terminate)
        bus = await stack.enter_async_context(messaging.connect(amqp_url, name="bench"))
        await stack.enter_async_context(asyncio.timeout(DEADLINE_SECONDS))
        await consumed(bus)
        await live(bus, [event(number) for number in range(2_000)])
        process = psutil.Process(router.pid)
        for number in range(rounds):
            plainly = await plain(amqp_url, [event(number) for number in range(events)])
            at_once = await live(bus, [event(number) for number in range(events)])
            waiting = [event(number) for number in range(events)]
            drained, cpu = await backlog(bus, waiting, process)
            line = {
                "round": number,
                "events": events,
                "postgres_fsync": fsync,
                "plain_per_second": round(plainly),
                "live_per_second": round(at_once),
                "backlog_per_second": round(drained),
                "live_to_plain": round(at_once / plainly, 2),
                "backlog_to_plain": round(drained / plainly, 2),
                "router_cpu_us_per_event": round(cpu * 1e6),
                "router_rss_mib": process.memory_info().rss >> 20,
            }
            print(json.dumps(line), flush=True)


def main() -> None:
    """Run it on the servers given, or on some of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    amqp, postgres = (os.environ.get(f"LINESHAFT_{one}_URL") for one in ("AMQP", "POSTGRES"))
    if amqp and postgres:
        asyncio.run(measure(amqp, postgres, options.events, options.rounds))
        return
    with throwaway.servers(ROOT / ".lineshaft" / "test") as servers:
        amqp, postgres = servers.endpoints.amqp, servers.endpoints.databases["event_router"]
        assert amqp is not None
        asyncio.run(measure(amqp, postgres, options.events, options.rounds))


if __name__ == "__main__":
    main()
