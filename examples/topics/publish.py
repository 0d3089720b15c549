"""Report one produced piece through the ingress: `publish.py [lane]`."""  # noqa: INP001 - a script.

import asyncio
import json
import os
import sys
import uuid
from datetime import UTC, datetime

import aio_pika


async def main(lane: str) -> None:
    """Publish and return when the broker has the event safely."""
    event = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),  # Keep it when sending again: a repeated id is passed on once.
        "source": "/acme/north/stamping/line-1/press-1",
        "type": "plant.production.unit-produced.v1",
        "time": datetime.now(UTC).isoformat(),
        "tenant": "acme",
        "priority": lane,
        "data": {
            "material_definition_id": "piston-ring-74",
            "quantity": {"good": {"value": "1", "uom": "pcs"}},
        },
    }
    message = aio_pika.Message(
        json.dumps(event).encode(),
        content_type="application/cloudevents+json",
        delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
        message_id=str(event["id"]),
        type=str(event["type"]),
    )
    connection = await aio_pika.connect(os.environ["PLANT_AMQP_URL"])
    async with connection:
        channel = await connection.channel(publisher_confirms=True)
        # Not declared: who may write to the ingress may do nothing else.
        ingress = await channel.get_exchange("plant.ingress", ensure=False)
        await ingress.publish(message, routing_key=lane, timeout=5)
    print("sent", event["id"])  # noqa: T201


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else "normal"))
