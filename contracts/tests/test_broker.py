"""The definitions document on a real broker: imported, and declared again by a service."""

import aio_pika
import pytest
from lineshaft_contracts.topology import EVENTS_LOG, PLANT_RESOURCE, TOPOLOGY

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
