"""Celery on RabbitMQ: its worker imports the application, run by itself it is the client.

Tuned as its documents say: late acknowledgement and publisher confirms for equal durability, a
long prefetch for short tasks, no events, no results unless they are what is measured.
"""
# Runs in an environment of its own, where the checker does not look.
# pyright: basic, reportMissingImports=false

import os
import time

from celery import Celery
from client import serve
from records import note

STORES_RESULTS = os.environ["BENCH_VARIANT"] == "results"
CLIENT_THREADS = 4

app = Celery("celery_peer", broker=os.environ["BENCH_AMQP_URL"])
app.conf.update(
    task_default_queue=os.environ["BENCH_QUEUE"],
    task_acks_late=True,
    task_ignore_result=not STORES_RESULTS,
    worker_prefetch_multiplier=128,
    worker_send_task_events=False,
    worker_hijack_root_logger=False,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
)
if STORES_RESULTS:
    database = os.environ["BENCH_POSTGRES_URL"].replace("postgresql:", "postgresql+psycopg2:")
    app.conf.update(result_backend=f"db+{database}", database_create_tables_at_setup=True)


@app.task(name="note")
def record(submitted_at: float) -> None:
    """Do what every measured job does."""
    note(submitted_at)


def submit(count: int) -> None:
    """Publish one by one: there is no call for many."""
    for _ in range(count):
        record.delay(time.time())


if __name__ == "__main__":
    serve(submit, threads=CLIENT_THREADS)
