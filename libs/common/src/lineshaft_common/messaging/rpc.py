"""Asking: a question out, its reply back over direct reply-to, within a deadline."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from lineshaft_contracts.envelope import Asking, Message, Priority, envelop
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.registry import contract_of
from pydantic import ValidationError

from lineshaft_common.messaging.bus import NoReplyError, PublishError
from lineshaft_common.messaging.codec import Received
from lineshaft_common.messaging.link import Link
from lineshaft_common.messaging.outgoing import Outgoing, traced
from lineshaft_common.messaging.publisher import Publisher, Ticket
from lineshaft_common.messaging.wire import FastChannel

R = TypeVar("R", bound=Message)

REPLY_TO = "amq.rabbitmq.reply-to"
_REPLY_ADDRESS = re.compile(r"^amq\.rabbitmq\.reply-to\.[A-Za-z0-9+/=_.-]{20,200}$")
"""As the broker writes it; a made-up one makes it close the connection."""
QUESTIONS_MAX = 5_000


class _Question:
    """An open question: the replies so far, and the future that waits for the last of them."""

    __slots__ = ("done", "replies", "replies_max")

    def __init__(self, replies_max: int) -> None:
        self.replies: list[Received] = []
        self.replies_max = replies_max
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def add(self, reply: Received) -> None:
        if not self.done.done():
            self.replies.append(reply)
            if len(self.replies) == self.replies_max:
                self.done.set_result(None)

    def refuse(self, error: PublishError | None) -> None:
        """End it when the question was not published."""
        if error is not None and not self.done.done():
            self.done.set_exception(error)


class Asker(Publisher):
    """A publisher whose channel also takes the replies, as direct reply-to asks for."""

    def __init__(self, link: Link) -> None:
        super().__init__(link)
        self._open: dict[str, _Question] = {}

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
        message = _asked(question, tenant, source, priority, deadline_seconds)
        asked = self._open[message.message_id] = _Question(replies_max)
        ticket = Ticket(1)
        # One wait for both: a reply says that the broker had the question, too.
        ticket.done.add_done_callback(lambda _: asked.refuse(ticket.outcomes[0]))
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._enqueue([message], ticket)
                await asked.done
        except TimeoutError:
            if not asked.replies:
                raise ticket.outcomes[0] or NoReplyError(
                    f"no reply to {question.type} within {deadline_seconds:g} s"
                ) from None
        finally:
            ticket.abandoned = True
            del self._open[message.message_id]
        return [_read_reply(reply, question.reply) for reply in asked.replies]

    def _on_reply(self, received: Received) -> None:
        asked = self._open.get(received.correlation_id or "")
        if asked is not None:
            asked.add(received)


def _asked(
    question: Asking[Any], tenant: str, source: str, priority: Priority, deadline_seconds: float
) -> Outgoing:
    durable = contract_of(type(question)).durable
    # A command outlives its asker; a question is worthless after the deadline.
    expiry = None if durable else datetime.now(UTC) + timedelta(seconds=deadline_seconds)
    message = traced(
        envelop(question, source=source, tenant=tenant, priority=priority, expirytime=expiry)
    )
    message.correlation_id = message.message_id
    message.reply_to = REPLY_TO
    message.time_to_live_milliseconds = None if durable else max(1, int(deadline_seconds * 1000))
    return message


def _read_reply(received: Received, model: type[Message]) -> Message:
    type_ = received.message_type
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

    A reply is its data alone: the question's id and correlation id tie it to an envelope.
    """
    reply_to = received.reply_to
    if reply_to is None or not _REPLY_ADDRESS.match(reply_to):
        return None
    return Outgoing(
        exchange="",
        routing_key=reply_to,
        type=message.type,
        message_id=received.message_id,
        body=message.__pydantic_serializer__.to_json(message),
        persistent=False,
        mandatory=False,
        correlation_id=received.correlation_id,
    )
