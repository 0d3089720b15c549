"""The broker goes away and comes back: what was confirmed arrives, and everybody returns."""

import asyncio
import os
import signal
from typing import Any

import aio_pika
import pytest
from lineshaft_cli.local.throwaway import Servers
from lineshaft_common.messaging import (
    Delivery,
    OutcomeUnknownError,
    Outgoing,
    UnavailableError,
    connect,
    on,
    outgoing,
)
from lineshaft_contracts.envelope import envelop, uuid7
from lineshaft_contracts.job_events import JobQueued
from lineshaft_contracts.topology import EVENT_ROUTER_PLATFORM, EVENTS_LOG, PLATFORM_LOG

pytestmark = [pytest.mark.integration, pytest.mark.chaos]

DEADLINE_SECONDS = 120.0


def queued(number: int) -> Any:
    event = JobQueued(job_id=uuid7(), job_type="trial.wait", attempt=number)
    return envelop(event, source="/services/test", tenant="acme")


def logged(number: int) -> Outgoing:
    message = outgoing(queued(number))
    return Outgoing(
        exchange=PLATFORM_LOG.name,
        routing_key=message.routing_key,
        type=message.type,
        message_id=message.message_id,
        body=message.body,
        headers=message.headers,
    )


def amqp_url(servers: Servers) -> str:
    assert servers.endpoints.amqp is not None
    return servers.endpoints.amqp


async def kill_rabbitmq(servers: Servers) -> None:
    """Kill the broker's own process and wait until its supervisor has started another."""
    before = servers.restarts("rabbitmq")
    process = servers.process("rabbitmq")
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while servers.restarts("rabbitmq") == before:
            await asyncio.sleep(0.1)


async def test_after_a_killed_broker_publishers_consumers_and_log_readers_go_on(
    servers_to_kill: Servers,
) -> None:
    handled: set[int] = set()
    confirmed: set[int] = set()
    offsets: list[int] = []
    done = asyncio.Event()

    async def take(delivery: Delivery[JobQueued]) -> None:
        handled.add(delivery.data.attempt)

    async with (
        connect(amqp_url(servers_to_kill), name="test") as bus,
        bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, take)),
        bus.read_log(EVENTS_LOG, "first") as records,
    ):

        async def publish() -> None:
            number = 0
            while not done.is_set():
                number += 1
                messages = [outgoing(queued(number)), logged(number)]
                outcomes = await bus.publish_many(messages, deadline_seconds=1)
                if outcomes == [None, None]:
                    confirmed.add(number)
                for outcome in outcomes:
                    assert outcome is None or isinstance(
                        outcome, UnavailableError | OutcomeUnknownError
                    )

        async def read() -> None:
            async for record in records:
                offsets.append(record.offset)  # noqa: PERF401 - it never ends.

        publishing, reading = asyncio.create_task(publish()), asyncio.create_task(read())
        await enough(confirmed, 200)
        await kill_rabbitmq(servers_to_kill)
        await enough(confirmed, len(confirmed) + 200)
        done.set()
        await publishing
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not confirmed <= handled or len(offsets) < len(confirmed):
                await asyncio.sleep(0.1)
        reading.cancel()
    assert offsets == list(range(len(offsets))), "the log was read with a gap or a repeat"


async def enough(numbers: set[int], count: int) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while len(numbers) < count:
            await asyncio.sleep(0.05)


async def test_a_consumer_comes_back_when_its_queue_was_deleted(fresh_amqp_url: str) -> None:
    arrived = asyncio.Event()

    async def take(_: Delivery[JobQueued]) -> None:
        arrived.set()

    async with (
        connect(fresh_amqp_url, name="test") as bus,
        bus.subscribe(EVENT_ROUTER_PLATFORM, on(JobQueued, take)),
    ):
        async with await aio_pika.connect(fresh_amqp_url) as intruder:
            channel = await intruder.channel()
            await channel.queue_delete(EVENT_ROUTER_PLATFORM.name)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not arrived.is_set():
                await bus.publish_many([queued(1)], deadline_seconds=2)
                await asyncio.sleep(0.1)


async def test_without_a_broker_calls_fail_clearly_within_their_deadline(
    servers_to_kill: Servers,
) -> None:
    async with connect(amqp_url(servers_to_kill), name="test") as bus:
        process = servers_to_kill.process("rabbitmq")
        assert process is not None
        os.kill(process.pid, signal.SIGKILL)
        began = asyncio.get_running_loop().time()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                (outcome,) = await bus.publish_many([queued(1)], deadline_seconds=0.5)
                if isinstance(outcome, UnavailableError):
                    break
        with pytest.raises(UnavailableError):
            await bus.check()
    assert asyncio.get_running_loop().time() - began < DEADLINE_SECONDS
