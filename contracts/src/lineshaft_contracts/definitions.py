"""The topology as a RabbitMQ definitions document, importable by any 3.10 or newer broker."""

from typing import Any

from lineshaft_contracts.topology import TOPOLOGY, Exchange, Queue

VHOST = "lineshaft"


def document() -> dict[str, Any]:
    """Return exchanges, queues, bindings and policies of the vhost; no users, no secrets."""
    return {
        "vhosts": [{"name": VHOST}],
        "exchanges": [_exchange(exchange) for exchange in TOPOLOGY.exchanges],
        "queues": [_queue(queue) for queue in TOPOLOGY.queues],
        "bindings": [binding for queue in TOPOLOGY.queues for binding in _bindings(queue)],
        "policies": [_policy(queue) for queue in TOPOLOGY.queues if queue.limits()],
    }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {
        "name": exchange.name,
        "vhost": VHOST,
        "type": exchange.type,
        "durable": True,
        "auto_delete": False,
        "internal": False,
        "arguments": exchange.arguments(),
    }


def _queue(queue: Queue) -> dict[str, Any]:
    return {
        "name": queue.name,
        "vhost": VHOST,
        "durable": True,
        "auto_delete": False,
        "arguments": queue.arguments(),
    }


def _bindings(queue: Queue) -> list[dict[str, Any]]:
    return [
        {
            "source": binding.exchange.name,
            "vhost": VHOST,
            "destination": queue.name,
            "destination_type": "queue",
            "routing_key": binding.pattern,
            "arguments": {},
        }
        for binding in queue.bindings
    ]


def _policy(queue: Queue) -> dict[str, Any]:
    """One policy per queue, because RabbitMQ applies at most one to each."""
    pattern = queue.name.replace(".", r"\.")
    return {
        "vhost": VHOST,
        "name": queue.name,
        "pattern": f"^{pattern}$",
        "apply-to": "queues",
        "priority": 0,
        "definition": queue.limits(),
    }
