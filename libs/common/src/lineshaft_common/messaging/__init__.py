"""Typed publish, subscribe, ask and serve over RabbitMQ; the only door to the broker."""

from lineshaft_common.messaging.bus import (
    Answer,
    Bus,
    Delivery,
    LogRecord,
    NoReplyError,
    OutcomeUnknownError,
    PublishError,
    Reaction,
    RefusedError,
    UnavailableError,
    UnroutableError,
    UnsendableError,
    answers,
    on,
)
from lineshaft_common.messaging.outgoing import Outgoing, outgoing, traced
from lineshaft_common.messaging.rabbitmq import RabbitBus, connect

__all__ = [
    "Answer",
    "Bus",
    "Delivery",
    "LogRecord",
    "NoReplyError",
    "OutcomeUnknownError",
    "Outgoing",
    "PublishError",
    "RabbitBus",
    "Reaction",
    "RefusedError",
    "UnavailableError",
    "UnroutableError",
    "UnsendableError",
    "answers",
    "connect",
    "on",
    "outgoing",
    "traced",
]
