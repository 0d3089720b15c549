"""What a bus is: the types that services see, the same for RabbitMQ and for the one in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, Literal, Protocol, TypeAlias, TypeVar

from lineshaft_contracts.envelope import Asking, Envelope, Message, Priority
from lineshaft_contracts.topology import Queue
from opentelemetry.context import Context

from lineshaft_common import tracing
from lineshaft_common.messaging.outgoing import Outgoing

D = TypeVar("D", bound=Message)
R = TypeVar("R", bound=Message)

PUBLISH_DEADLINE_SECONDS = 5.0
ASK_DEADLINE_SECONDS = 1.0


class PublishError(Exception):
    """A message was not handed to the broker, or nobody can say whether it was."""


class UnavailableError(PublishError, ConnectionError):
    """The broker could not be reached in time; the message was certainly not sent."""


class OutcomeUnknownError(PublishError, ConnectionError):
    """The message was sent and no confirm came: it may or may not have arrived."""


class RefusedError(PublishError, ConnectionError):
    """The broker said no (negative confirm): a queue is full or could not store it."""


class UnroutableError(PublishError):
    """No queue takes this message."""


class UnsendableError(PublishError):
    """AMQP cannot carry this message: an id or key beyond 255 bytes, a strange header."""


class NoReplyError(TimeoutError):
    """The broker has the question, and nobody answered before the deadline."""


class Delivery(Generic[D]):
    """One received message, and what may be done with it."""

    __slots__ = (
        "_reply",
        "body",
        "envelope",
        "headers",
        "parked",
        "redelivered",
        "routing_key",
    )

    def __init__(
        self,
        *,
        envelope: Envelope[D],
        body: bytes,
        headers: Mapping[str, Any],
        routing_key: str,
        redelivered: bool,
        reply: Callable[[Message], Awaitable[None]] | None = None,
    ) -> None:
        self.envelope = envelope
        self.body = body
        self.headers = headers
        self.routing_key = routing_key
        self.redelivered = redelivered
        self.parked: tuple[str, str] | None = None
        self._reply = reply

    @property
    def data(self) -> D:
        """The message inside the envelope."""
        return self.envelope.data

    @property
    def context(self) -> Context:
        """The trace that the sender was in."""
        return tracing.extract(self.headers.get("traceparent"), self.headers.get("tracestate"))

    @property
    def traceparent(self) -> str | None:
        """The same as text, for who only passes it on; None when it is no trace context."""
        carried = self.headers.get("traceparent")
        return None if tracing.parse(carried) is None else carried

    @property
    def is_recorded(self) -> bool:
        """Whether the trace that it carries is one that is recorded."""
        return tracing.is_recorded(self.headers.get("traceparent")) is True

    @property
    def is_answerable(self) -> bool:
        """Whether somebody waits for a reply."""
        return self._reply is not None

    def park(self, code: str, detail: str) -> None:
        """Put the message aside with a reason, for a person to look at; it is not retried."""
        self.parked = (code, detail)

    async def reply(self, message: Message) -> None:
        """Answer whoever asked; without effect when nobody waits for an answer."""
        if self._reply is not None:
            await self._reply(message)


@dataclass(kw_only=True, slots=True)
class LogRecord:
    """One entry of a retained log, undecoded."""

    offset: int
    type: str
    routing_key: str
    body: bytes
    headers: Mapping[str, Any]

    @property
    def tenant(self) -> str:
        """Whom it belongs to, as the writer says."""
        return str(self.headers.get("tenant", ""))

    @property
    def context(self) -> Context:
        """The trace that the sender was in."""
        return tracing.extract(self.headers.get("traceparent"), self.headers.get("tracestate"))


@dataclass(frozen=True, kw_only=True)
class Reaction:
    """A message type, and what is done when one arrives."""

    model: type[Message]
    handle: Callable[[Delivery[Any]], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A command or query, and who answers it."""

    model: type[Asking[Any]]
    handle: Callable[[Envelope[Any]], Awaitable[Message]]


def on(model: type[D], handle: Callable[[Delivery[D]], Awaitable[None]]) -> Reaction:
    """Pair a message type with its handler, which must be idempotent."""
    return Reaction(model=model, handle=handle)


Asked = TypeVar("Asked", bound=Asking[Any])


def answers(model: type[Asked], handle: Callable[[Envelope[Asked]], Awaitable[Message]]) -> Answer:
    """Pair a query with its handler; it raises ProblemError to answer with a problem."""
    return Answer(model=model, handle=handle)


BatchHandler: TypeAlias = Callable[[Sequence[Delivery[Any]]], Awaitable[None]]
Start: TypeAlias = Literal["first", "last", "next"] | int | datetime
"""Where to begin in a log: an offset, an instant, or one of three words."""


class Bus(Protocol):
    """Carries typed messages between services. Every call has a deadline."""

    async def publish(
        self, envelope: Envelope[Any], *, deadline_seconds: float = PUBLISH_DEADLINE_SECONDS
    ) -> None:
        """Send one message; return once the broker has it safely, or raise PublishError."""
        ...

    async def publish_many(
        self,
        messages: Sequence[Envelope[Any] | Outgoing],
        *,
        deadline_seconds: float = PUBLISH_DEADLINE_SECONDS,
    ) -> list[PublishError | None]:
        """Send messages in order in one go; say for each whether the broker has it."""
        ...

    async def ask(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        priority: Priority = Priority.NORMAL,
        deadline_seconds: float = ASK_DEADLINE_SECONDS,
    ) -> R:
        """Send a command or query and wait for its reply.

        Raises ProblemError when the answer is a problem, NoReplyError when the broker has the
        question and no answer came, PublishError when the broker does not have it.
        """
        ...

    async def ask_all(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        replies_max: int,
        deadline_seconds: float,
    ) -> list[R]:
        """Send a command that several answer; return the replies that came.

        Raises ProblemError when everybody who answered refused, else as `ask` does.
        """
        ...

    def subscribe(
        self, queue: Queue, *reactions: Reaction, concurrency: int = 10
    ) -> AbstractAsyncContextManager[None]:
        """React to the messages of a queue, each settled by itself, while the block is open."""
        ...

    def subscribe_batch(
        self,
        queue: Queue,
        handle: BatchHandler,
        *,
        batch_max: int = 500,
        raw: bool = False,
    ) -> AbstractAsyncContextManager[None]:
        """React to whatever has arrived since the last call, in one call and one acknowledgement.

        With `raw` the bodies are not parsed: `envelope.data` is Unregistered and may be anything.
        """
        ...

    def serve(
        self, queue: Queue, *responders: Answer, concurrency: int = 100
    ) -> AbstractAsyncContextManager[None]:
        """Answer questions while the block is open; one whose deadline has passed is dropped."""
        ...

    def read_log(
        self, queue: Queue, start: Start
    ) -> AbstractAsyncContextManager[AsyncIterator[LogRecord]]:
        """Read a retained log from `start`, then live; goes on after a lost connection."""
        ...

    async def depth(self, queue: Queue) -> tuple[int, int]:
        """Count the ready messages and the consumers of a queue."""
        ...

    async def declare(self, queue: Queue) -> None:
        """Make a queue that is not part of the topology; nothing happens when it is there."""
        ...

    async def delete(self, queue: Queue) -> None:
        """Remove a queue with what is in it; nothing happens when it is gone."""
        ...

    async def check(self) -> None:
        """Raise when the broker cannot be used now; a round trip with a deadline."""
        ...
