"""Asking: a question out, its reply back over direct reply-to, within a deadline."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lineshaft_contracts.envelope import Asking, Message, Priority, envelop, uuid7
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.registry import contract_of
from pydantic import ValidationError

from lineshaft_common import tracing
from lineshaft_common.messaging.bus import NoReplyError, Outgoing, outgoing
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.publisher import Publisher
from lineshaft_common.messaging.wire import FastChannel, Received

R = TypeVar("R", bound=Message)

REPLY_TO = "amq.rabbitmq.reply-to"
_REPLY_ADDRESS = re.compile(r"^amq\.rabbitmq\.reply-to\.[A-Za-z0-9+/=_.-]{20,200}$")
"""As the broker writes it; a made-up one makes it close the connection."""
QUESTIONS_MAX = 5_000


class Asker(Publisher):
    """A publisher whose channel also takes the replies, as direct reply-to asks for."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._open: dict[str, asyncio.Queue[Received]] = {}

    async def _prepare(self, channel: FastChannel) -> None:
        """Listen for replies first: the broker refuses a question from who does not."""
        channel.on_deliver = self._on_reply
        await channel.consume(REPLY_TO, no_ack=True)

    async def ask(
        self,
        question: Asking[R],
        *,
        tenant: str,
        source: str,
        priority: Priority = Priority.NORMAL,
        replies_max: int,
        deadline_seconds: float,
    ) -> list[Message]:
        """Send and collect up to `replies_max` replies, or those that came before the deadline."""
        if len(self._open) >= QUESTIONS_MAX:
            raise NoReplyError("too many questions are open")
        asked_id = str(uuid7())
        replies: asyncio.Queue[Received] = asyncio.Queue(replies_max)
        self._open[asked_id] = replies
        collected: list[Message] = []
        loop = asyncio.get_running_loop()
        ends = loop.time() + deadline_seconds
        try:
            message = self._question(
                question,
                tenant=tenant,
                source=source,
                priority=priority,
                asked_id=asked_id,
                deadline_seconds=deadline_seconds,
            )
            (error,) = await self.publish_many([message], deadline_seconds=deadline_seconds)
            if error is not None:
                raise error
            async with asyncio.timeout_at(ends):
                while len(collected) < replies_max:
                    collected.append(_read_reply(await replies.get(), question.reply))
        except TimeoutError:
            if not collected:
                raise NoReplyError(
                    f"no reply to {question.type} within {deadline_seconds:g} s"
                ) from None
        finally:
            del self._open[asked_id]
        return collected

    @staticmethod
    def _question(
        question: Asking[Any],
        *,
        tenant: str,
        source: str,
        priority: Priority,
        asked_id: str,
        deadline_seconds: float,
    ) -> Outgoing:
        contract = contract_of(type(question))
        durable = contract.durable
        envelope = envelop(
            question,
            source=source,
            tenant=tenant,
            priority=priority,
            # A command outlives its asker; a question is worthless after the deadline.
            expirytime=None
            if durable
            else datetime.now(UTC) + timedelta(seconds=deadline_seconds),
        )
        exchange = contract.exchange.name if contract.exchange else ""
        message = outgoing(tracing.publish(envelope, exchange, envelope.key))
        return Outgoing(
            exchange=message.exchange,
            routing_key=message.routing_key,
            type=message.type,
            message_id=message.message_id,
            body=message.body,
            headers=message.headers,
            priority=message.priority,
            persistent=durable,
            time_to_live_milliseconds=None if durable else max(1, int(deadline_seconds * 1000)),
            correlation_id=asked_id,
            reply_to=REPLY_TO,
            app_id=message.app_id,
        )

    def _on_reply(self, received: Received) -> None:
        waiting = self._open.get(str(received.properties.correlation_id))
        if waiting is not None and not waiting.full():
            waiting.put_nowait(received)


def _read_reply(received: Received, model: type[Message]) -> Message:
    type_ = received.properties.message_type
    if type_ not in {Problem.type, model.type}:
        raise ProblemError(
            Problem(code="unexpected_reply", title="The answer has the wrong type", status=502)
        )
    try:
        if type_ == Problem.type:
            return Problem.model_validate_json(received.body)
        return model.model_validate_json(received.body)
    except ValidationError as error:
        raise ProblemError(
            Problem(code="unreadable_reply", title="The answer cannot be read", status=502)
        ) from error


def reply_message(received: Received, message: Message) -> Outgoing | None:
    """Address a reply to whoever asked; None when nobody waits for one.

    A reply is its data alone: the question's correlation id ties it to an envelope.
    """
    reply_to = received.properties.reply_to
    if not isinstance(reply_to, str) or not _REPLY_ADDRESS.match(reply_to):
        return None
    return Outgoing(
        exchange="",
        routing_key=reply_to,
        type=message.type,
        message_id=str(uuid7()),
        body=message.__pydantic_serializer__.to_json(message),
        persistent=False,
        mandatory=False,
        correlation_id=received.properties.correlation_id,
    )
