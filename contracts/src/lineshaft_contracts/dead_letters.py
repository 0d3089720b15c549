"""Questions about dead letters: messages that could not be handled, and sending them again."""

from typing import Annotated, Any

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.problems import FieldProblem
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import EVENT_ROUTER_QUERIES

REDRIVE_SECONDS_MAX = 5
"""How long one command sends; what is left takes another one."""

LetterId = Annotated[int, Field(ge=1, lt=2**63)]
Name = Annotated[str, Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")]


class DeadLetter(Value):
    """A message that was put aside; `type` and `message_id` are what its sender wrote."""

    id: int
    came_at: Moment
    queue: str
    """Where it failed; the only place where it can be sent to again."""
    reason: str
    detail: str
    type: str
    message_id: str
    tenant: str
    """Empty when it names none."""
    exchange: str
    routing_key: str
    body_bytes: int
    redrives: int
    """How often it was sent again before."""


class LetterFilter(Value):
    """Which dead letters are meant; conditions are joined with AND."""

    ids: Annotated[tuple[LetterId, ...], Field(max_length=500)] = ()
    queue: Name | None = None
    reason: Name | None = None
    type: Name | None = None
    came_before: Moment | None = None


def _reply(name: str) -> Any:
    return message(f"lineshaft.dead-letters.{name}.v1", kind=Kind.REPLY, owner="event-router")


def _asked(name: str, kind: Kind = Kind.QUERY) -> Any:
    return message(
        f"lineshaft.dead-letters.{name}.v1",
        kind=kind,
        owner="event-router",
        exchange=EVENT_ROUTER_QUERIES,
        durable=False,
    )


class LetterQuestion:
    """A tenant is told of its own letters, and of those of the platform and of nobody."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the event-router travel through one queue."""
        return "query"


@_reply("page")
class DeadLetterPage(Message):
    """Answer to ListDeadLetters, latest first."""

    letters: tuple[DeadLetter, ...]
    total: int
    """How many match, this page and all others."""
    next_cursor: str | None = None


@_asked("list")
class ListDeadLetters(LetterQuestion, Asking[DeadLetterPage]):
    """Dead letters that match."""

    matching: LetterFilter = LetterFilter()
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    before: LetterId | None = None
    """`next_cursor` of the page before."""


@_reply("letter")
class DeadLetterFound(Message):
    """Answer to GetDeadLetter."""

    letter: DeadLetter
    headers: dict[str, Any]
    body: str
    """As text, at most its first 64 KiB; what is no UTF-8 is replaced."""


@_asked("get")
class GetDeadLetter(LetterQuestion, Asking[DeadLetterFound]):
    """One dead letter with its body."""

    id: LetterId


@_reply("redriven")
class DeadLettersRedriven(Message):
    """Answer to RedriveDeadLetters."""

    matched: int
    """How many matched before."""
    redriven: int
    """How many are in their queue again; 0 in a dry run."""
    remaining: int
    """How many match still: those that failed, and those that there was no time for."""
    errors: tuple[FieldProblem, ...] = ()
    """Why some could not be sent, the first of them; the pointer is `/<id>`."""


@_asked("redrive", Kind.COMMAND)
class RedriveDeadLetters(LetterQuestion, Asking[DeadLettersRedriven]):
    """Send dead letters to the queue that they come from, oldest first."""

    matching: LetterFilter = LetterFilter()
    dry_run: bool = False
    """Only count."""
    per_second: Annotated[int, Field(ge=1, le=1000)] = 100
    limit: Annotated[int, Field(ge=1, le=5000)] = 500
    actor: Name
    """Who does it, for the audit."""


class RedriveRecord(Value):
    """Who sent which dead letters again."""

    at: Moment
    actor: str
    matching: LetterFilter
    dry_run: bool
    matched: int
    redriven: int
    failed: int


@_reply("audit")
class DeadLetterAudit(Message):
    """Answer to ListDeadLetterAudit, latest first."""

    entries: tuple[RedriveRecord, ...]


@_asked("list-audit")
class ListDeadLetterAudit(LetterQuestion, Asking[DeadLetterAudit]):
    """What was sent again lately, by whom."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
