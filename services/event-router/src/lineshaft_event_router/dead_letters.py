"""Dead letters: kept with their reasons, shown, and sent to the queue that they come from."""

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol

from lineshaft_common.messaging import Bus, Delivery, Outgoing
from lineshaft_common.transient import TRANSIENT_ERRORS
from lineshaft_contracts.dead_letters import (
    REDRIVE_SECONDS_MAX,
    DeadLetterAudit,
    DeadLetterFound,
    DeadLetterPage,
    DeadLettersRedriven,
    GetDeadLetter,
    LetterFilter,
    ListDeadLetterAudit,
    ListDeadLetters,
    RedriveDeadLetters,
)
from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.topology import TOPOLOGY
from pydantic_core import to_json

BATCH_MAX = 20
"""Letters of one transaction: so many are sent twice when the process ends before its commit."""
PUBLISH_DEADLINE_SECONDS = 2.0
ERRORS_MAX = 20
TEXT_MAX = 1000
OWN_HEADERS = re.compile(r"^(lineshaft-|x-)")
"""Of this dead letter, not of the message."""
QUEUES = frozenset(queue.name for queue in TOPOLOGY.queues)
EDGE_QUEUE = re.compile(r"^cdn-edge\.[a-z0-9-]{1,32}\.commands$")


@dataclass(frozen=True, kw_only=True)
class Letter:
    """A message as it was put aside."""

    digest: bytes
    """The same for the same message, when the broker gives it to us twice."""
    queue: str
    reason: str
    detail: str
    type: str
    message_id: str
    tenant: str
    exchange: str
    routing_key: str
    redrives: int
    headers: str
    """JSON."""
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A letter that is locked for sending."""

    id: int
    letter: Letter
    headers: Mapping[str, Any]


class Letters(Protocol):
    """Where letters are kept; see store."""

    async def keep(self, letters: Sequence[Letter]) -> None:
        """Keep letters, each once."""
        ...

    async def page(self, question: ListDeadLetters, tenants: Sequence[str]) -> DeadLetterPage:
        """List letters of these tenants, latest first."""
        ...

    async def get(self, id_: int, tenants: Sequence[str]) -> DeadLetterFound | None:
        """Find one letter of these tenants."""
        ...

    async def count(self, matching: LetterFilter, tenants: Sequence[str]) -> int:
        """Count the letters that match."""
        ...

    def taken(
        self, matching: LetterFilter, tenants: Sequence[str], *, after: int, limit: int
    ) -> AbstractAsyncContextManager[tuple[Sequence[Kept], Callable[[int], None]]]:
        """Lock the oldest letters for the block; those that were marked as sent go at its end."""
        ...

    async def record(
        self, command: RedriveDeadLetters, outcome: DeadLettersRedriven, failed: int, tenant: str
    ) -> None:
        """Write what was done into the audit."""
        ...

    async def audit(self, limit: int, tenant: str) -> DeadLetterAudit:
        """List what was done, latest first."""
        ...


class DeadLetters:
    """Takes letters in and sends them again.

    A letter is acknowledged to the broker after the commit that keeps it, and goes from the table
    in the transaction during which the broker confirmed it for its queue: a crash in between
    loses none, and may send some twice; consumers are idempotent.
    """

    def __init__(self, letters: Letters, bus: Bus) -> None:
        self._letters = letters
        self._bus = bus

    async def take(self, deliveries: Sequence[Delivery[Any]]) -> None:
        """Keep what was put aside; idempotent by the message's digest.

        A slow database is waited for like one that is away: nothing is behind this queue, and
        what were given up here would be gone.
        """
        letters = [_letter(delivery) for delivery in deliveries]
        try:
            await self._letters.keep(letters)
        except TRANSIENT_ERRORS as error:
            raise ConnectionError(f"letters could not be kept: {error!r}") from error

    async def list_page(self, asked: Envelope[ListDeadLetters]) -> DeadLetterPage:
        """Answer ListDeadLetters."""
        return await self._letters.page(asked.data, _seen_by(asked.tenant))

    async def get(self, asked: Envelope[GetDeadLetter]) -> DeadLetterFound:
        """Answer GetDeadLetter."""
        found = await self._letters.get(asked.data.id, _seen_by(asked.tenant))
        if found is None:
            raise ProblemError(NOT_FOUND)
        return found

    async def list_audit(self, asked: Envelope[ListDeadLetterAudit]) -> DeadLetterAudit:
        """Answer ListDeadLetterAudit."""
        return await self._letters.audit(asked.data.limit, asked.tenant)

    async def redrive(self, asked: Envelope[RedriveDeadLetters]) -> DeadLettersRedriven:
        """Answer RedriveDeadLetters: oldest first, at most `per_second`, while there is time."""
        command, tenants = asked.data, _seen_by(asked.tenant)
        matched = await self._letters.count(command.matching, tenants)
        sent, failed, errors = 0, 0, list[FieldProblem]()
        if not command.dry_run:
            sent, failed, errors = await self._send(command, tenants, matched)
        outcome = DeadLettersRedriven(
            matched=matched,
            redriven=sent,
            remaining=await self._letters.count(command.matching, tenants),
            errors=tuple(errors[:ERRORS_MAX]),
        )
        await self._letters.record(command, outcome, failed, asked.tenant)
        return outcome

    async def _send(
        self, command: RedriveDeadLetters, tenants: Sequence[str], matched: int
    ) -> tuple[int, int, list[FieldProblem]]:
        """Send each once: what comes back meanwhile is after the last of those that matched."""
        loop = asyncio.get_running_loop()
        began, sent, seen, after = loop.time(), 0, 0, 0
        errors = list[FieldProblem]()
        most = min(command.limit, command.per_second * REDRIVE_SECONDS_MAX, matched)
        while seen < most and loop.time() - began < REDRIVE_SECONDS_MAX:
            size = min(BATCH_MAX, command.per_second, most - seen)
            async with self._letters.taken(command.matching, tenants, after=after, limit=size) as (
                kept,
                mark_sent,
            ):
                for one, error in zip(kept, await self._publish(kept), strict=True):
                    if error is None:
                        mark_sent(one.id)
                        sent += 1
                    else:
                        errors.append(error)
            if not kept:
                break
            seen, after = seen + len(kept), kept[-1].id
            await asyncio.sleep(max(0.0, began + seen / command.per_second - loop.time()))
        return sent, len(errors), errors

    async def _publish(self, kept: Sequence[Kept]) -> list[FieldProblem | None]:
        known = [one for one in kept if _is_queue(one.letter.queue)]
        outcomes = dict(
            zip(
                [one.id for one in known],
                await self._bus.publish_many(
                    [_again(one) for one in known], deadline_seconds=PUBLISH_DEADLINE_SECONDS
                ),
                strict=True,
            )
        )
        return [
            _problem(one.id, "unknown_queue", one.letter.queue)
            if one.id not in outcomes
            else (error := outcomes[one.id]) and _problem(one.id, "not_sent", str(error))
            for one in kept
        ]


def _seen_by(tenant: str) -> tuple[str, ...]:
    return (tenant, PLATFORM_TENANT, "")


def _is_queue(name: str) -> bool:
    return name in QUEUES or EDGE_QUEUE.match(name) is not None


def _again(kept: Kept) -> Outgoing:
    """Address a letter to its queue alone, by the default exchange."""
    headers = {
        name: value
        for name, value in kept.headers.items()
        if isinstance(value, str | int) and not OWN_HEADERS.match(name)
    }
    return Outgoing(
        exchange="",
        routing_key=kept.letter.queue,
        type=kept.letter.type,
        message_id=kept.letter.message_id,
        body=kept.letter.body,
        headers={**headers, "lineshaft-redrives": kept.letter.redrives + 1},
    )


def _letter(delivery: Delivery[Any]) -> Letter:
    headers = {
        name: value for name, value in delivery.headers.items() if name != "x-delivery-count"
    }
    written = to_json(headers, fallback=repr, bytes_mode="base64", inf_nan_mode="constants")
    queue = _text(headers, "lineshaft-queue", "x-first-death-queue")
    id_, type_ = _clean(delivery.envelope.id), _clean(delivery.envelope.type)
    redrives = headers.get("lineshaft-redrives", 0)
    return Letter(
        digest=sha256(b"\0".join((id_.encode(), written, delivery.body))).digest(),
        queue=queue,
        reason=_text(headers, "lineshaft-reason", "x-first-death-reason") or "unknown",
        detail=_text(headers, "lineshaft-detail"),
        type=type_,
        message_id=id_,
        tenant=_text(headers, "tenant"),
        exchange=_text(headers, "lineshaft-exchange", "x-first-death-exchange"),
        routing_key=_text(headers, "lineshaft-routing-key"),
        redrives=redrives if isinstance(redrives, int) and 0 <= redrives < 2**31 else 0,
        headers=written.decode(),
        body=delivery.body,
    )


def _text(headers: Mapping[str, Any], *names: str) -> str:
    found = next((headers[name] for name in names if isinstance(headers.get(name), str)), "")
    return _clean(found)[:TEXT_MAX]


def _clean(text: str) -> str:
    """Leave out what PostgreSQL cannot store."""
    return text.replace("\0", "").encode(errors="replace").decode()


def _problem(id_: int, code: str, message: str) -> FieldProblem:
    return FieldProblem(pointer=f"/{id_}", code=code, message=message[:200])


NOT_FOUND = Problem(
    code="dead_letter_not_found",
    title="There is no such dead letter",
    detail="It may have been sent again meanwhile.",
    status=404,
)
