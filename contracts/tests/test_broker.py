"""The definitions document on a real broker: imported, and declared again by a service."""

import asyncio
from typing import Any

import aio_pika
import aiohttp
import pytest
from lineshaft_contracts.topology import EVENTS_LOG, PLANT_RESOURCE, TOPOLOGY
from yarl import URL

pytestmark = pytest.mark.integration


async def test_what_a_service_declares_is_what_the_document_imported(amqp_url: str) -> None:
    async with await aio_pika.connect(amqp_url) as connection:
        channel = await connection.channel()
        for exchange in TOPOLOGY.exchanges:
            await channel.declare_exchange(exchange.name, passive=True)
            await channel.declare_exchange(
                exchange.name, exchange.type, durable=True, arguments={**exchange.arguments()}
            )
        for queue in TOPOLOGY.queues:
            await channel.declare_queue(queue.name, passive=True)
            await channel.declare_queue(queue.name, durable=True, arguments={**queue.arguments()})


async def test_an_event_reaches_the_log_and_an_unknown_word_the_unrouted_queue(
    fresh_amqp_url: str,
) -> None:
    async with await aio_pika.connect(fresh_amqp_url) as connection:
        channel = await connection.channel(on_return_raises=True)
        domain = await channel.get_exchange(PLANT_RESOURCE.name)
        await domain.publish(aio_pika.Message(b"{}"), "acme._._._._.heartbeat.low", timeout=10)
        ingress = await channel.get_exchange("plant.ingress")
        await ingress.publish(aio_pika.Message(b"lost"), "no-such-lane", timeout=10)
        unrouted = await channel.get_queue("unrouted")
        message = await unrouted.get(timeout=10)
        assert message is not None
        assert (message.body, message.exchange) == (b"lost", "plant.ingress")
        assert (await channel.declare_queue(EVENTS_LOG.name, passive=True)).name == "events.log"


async def test_the_broker_applies_the_limits_of_each_queue(
    rabbitmq_endpoints: Any, fresh_amqp_url: str
) -> None:
    management = rabbitmq_endpoints.rabbitmq_management
    if management is None:
        pytest.skip("no management API")
    url = f"{management}/api/queues/{URL(fresh_amqp_url).path.strip('/')}"
    expected = {queue.name: queue.limits() for queue in TOPOLOGY.queues}
    async with aiohttp.ClientSession() as http, asyncio.timeout(30):
        while True:
            async with http.get(url) as response:
                queues = await response.json()
            found = {queue["name"]: queue.get("effective_policy_definition") for queue in queues}
            if found == expected:
                return
            # The management API shows new queues after its next collection.
            await asyncio.sleep(0.5)
