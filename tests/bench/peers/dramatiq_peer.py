"""Dramatiq on RabbitMQ: its worker imports the actor, run by itself it is the client."""
# Runs in an environment of its own, where the checker does not look.
# pyright: basic, reportMissingImports=false

import os
import time

import dramatiq
from client import serve
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from records import note

CLIENT_THREADS = 4

broker = RabbitmqBroker(url=os.environ["BENCH_AMQP_URL"], confirm_delivery=True)
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name=os.environ["BENCH_QUEUE"])
def record(submitted_at: float) -> None:
    """Do what every measured job does."""
    note(submitted_at)


def submit(count: int) -> None:
    """Publish one by one: there is no call for many."""
    for _ in range(count):
        record.send(time.time())


if __name__ == "__main__":
    serve(submit, threads=CLIENT_THREADS)
