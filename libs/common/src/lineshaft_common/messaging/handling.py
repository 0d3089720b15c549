"""What becomes of messages that came: reactions, answers, and the replies of many."""

import asyncio
from collections.abc import Sequence
from typing import Any

import structlog
from lineshaft_contracts.envelope import Envelope, Message
from lineshaft_contracts.problems import Problem, ProblemError

from lineshaft_common import tracing
from lineshaft_common.messaging.bus import Answer, BatchHandler, Delivery, Reaction

log = structlog.get_logger(__name__)

INTERNAL = Problem(code="internal", title="Something went wrong inside", status=500)


def accepted(replies: Sequence[Message]) -> list[Message]:
    """Keep the replies that are no refusal; raise the refusal when there is nothing else."""
    found = [reply for reply in replies if not isinstance(reply, Problem)]
    for reply in replies:
        if isinstance(reply, Problem) and not found:
            raise ProblemError(reply)
    return found


def dispatch(reactions: Sequence[Reaction]) -> BatchHandler:
    """Make one handler of many: each message goes to the reaction of its type, if there is one."""
    handlers = {reaction.model.type: reaction.handle for reaction in reactions}

    async def handle(deliveries: Sequence[Delivery[Any]]) -> None:
        wanted = [d for d in deliveries if d.envelope.type in handlers]
        if len(wanted) == 1:
            await handlers[wanted[0].envelope.type](wanted[0])
        elif wanted:
            outcomes = await asyncio.gather(
                *(handlers[d.envelope.type](d) for d in wanted), return_exceptions=True
            )
            for outcome in outcomes:
                if isinstance(outcome, BaseException):
                    raise outcome

    return handle


def _is_late(question: Envelope[Any], waited_seconds: float) -> bool:
    """Whether a question has waited here for longer than its asker waits for the answer.

    Only the asker's own two times are compared: its clock may differ from ours. What waits too
    long at the broker, the broker itself drops.
    """
    expires = question.expirytime
    return expires is not None and waited_seconds > (expires - question.time).total_seconds()


async def respond(
    answer: Answer | None, delivery: Delivery[Any], queue: str, *, waited_seconds: float = 0
) -> None:
    """Answer one question, whatever happens; drop it when nobody waits any longer."""
    if _is_late(delivery.envelope, waited_seconds):
        log.info("question_expired", type=delivery.envelope.type)
        return
    with tracing.process(queue, [delivery.context], name="answer"):
        try:
            if answer is None:
                reply: Message = Problem(
                    code="unknown_question", title="Nobody answers this here", status=501
                )
            else:
                reply = await answer.handle(delivery.envelope)
        except ProblemError as error:
            reply = error.problem
        except Exception:
            log.exception("question_failed", type=delivery.envelope.type)
            reply = INTERNAL
        await delivery.reply(reply)
