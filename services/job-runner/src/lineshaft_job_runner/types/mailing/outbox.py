"""What is known about each recipient's mail, recorded durably before and after it is sent."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from lineshaft_contracts.email import EmailParameters, Repeat

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.mailing.addressing import Addressee

RETRY_SECONDS_MAX = 3_600.0
REPLY_CHARACTERS_MAX = 300


class State(StrEnum):
    """Where a mail is; the last four are final."""

    SENDING = "sending"
    """About to be handed over: whether the server has it is open until its answer."""
    DEFERRED = "deferred"
    SENT = "sent"
    REFUSED = "refused"
    GIVEN_UP = "given_up"
    UNKNOWN = "unknown"


FINAL = frozenset({State.SENT, State.REFUSED, State.GIVEN_UP, State.UNKNOWN})


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One recipient's record."""

    state: State
    message_id: str
    first_at: str
    """When it was tried first; ISO 8601."""
    tries: int = 1
    due_at: str = ""
    """When it is tried again; ISO 8601."""
    code: int | None = None
    reply: str = ""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the server said about one recipient; `state` is DEFERRED for what may pass."""

    state: State
    code: int | None = None
    reply: str = ""


class Outbox:
    """The records of one job; at most one row for each address, whatever attempt writes it.

    A row that an earlier attempt left as `sending` was about to be handed over when its process
    ended. Nobody knows whether it arrived: the policy decides what it becomes.
    """

    def __init__(
        self,
        context: JobContext,
        parameters: EmailParameters,
        entries: Mapping[str, Entry],
    ) -> None:
        self._context = context
        self._parameters = parameters
        self._entries = dict(entries)

    @classmethod
    async def open(
        cls, context: JobContext, parameters: EmailParameters, *, now: datetime
    ) -> "Outbox":
        """Read the records, and settle what an earlier attempt left open."""
        recorded = await context.recorded()
        entries = {key: _entry(value) for key, value in recorded.items()}
        outbox = cls(context, parameters, entries)
        left = [key for key, entry in entries.items() if entry.state is State.SENDING]
        answer = Answer(state=State.UNKNOWN, reply="the process ended before the server answered")
        for start in range(0, len(left), 100):
            await outbox.settle(dict.fromkeys(left[start : start + 100], answer), now=now)
        return outbox

    def get(self, addressee: Addressee) -> Entry | None:
        """Return what is known about a recipient."""
        return self._entries.get(addressee.key)

    def is_due(self, addressee: Addressee, *, now: datetime) -> bool:
        """Whether a recipient is to be tried now."""
        entry = self.get(addressee)
        if entry is None:
            return True
        return entry.state is State.DEFERRED and datetime.fromisoformat(entry.due_at) <= now

    def count(self, addressees: Iterable[Addressee]) -> Counter[State]:
        """Count recipients by what is known about them."""
        entries = [self.get(addressee) for addressee in addressees]
        return Counter(entry.state for entry in entries if entry is not None)

    def next_due(self, addressees: Iterable[Addressee]) -> datetime | None:
        """Return when the next of those that wait is to be tried; None when none waits."""
        waiting = [
            datetime.fromisoformat(entry.due_at)
            for entry in map(self.get, addressees)
            if entry is not None and entry.state is State.DEFERRED
        ]
        return min(waiting, default=None)

    async def sending(self, keys: Iterable[str], message_id: str, *, now: datetime) -> None:
        """Record that a mail is handed over now; when this returns, it may be."""
        changed: dict[str, Entry] = {}
        for key in keys:
            before = self._entries.get(key)
            changed[key] = Entry(
                state=State.SENDING,
                message_id=message_id,
                first_at=before.first_at if before else now.isoformat(),
                tries=before.tries + 1 if before else 1,
            )
        await self._store(changed)

    async def settle(
        self, answers: Mapping[str, Answer], *, now: datetime, message_id: str = ""
    ) -> None:
        """Record what the server said."""
        await self._store(
            {key: self._after(key, answer, message_id, now) for key, answer in answers.items()}
        )

    def _after(self, key: str, answer: Answer, message_id: str, now: datetime) -> Entry:
        entry = self._entries.get(key)
        if entry is None:
            entry = Entry(state=State.SENDING, message_id=message_id, first_at=now.isoformat())
        elif entry.state is State.DEFERRED:  # Refused before anything was handed over.
            entry = replace(entry, tries=entry.tries + 1)
        entry = replace(
            entry, state=answer.state, code=answer.code, reply=answer.reply[:REPLY_CHARACTERS_MAX]
        )
        again = self._parameters.repeat is Repeat.AT_LEAST_ONCE
        if answer.state is State.DEFERRED or (answer.state is State.UNKNOWN and again):
            return self._deferred(entry, now)
        return entry

    def _deferred(self, entry: Entry, now: datetime) -> Entry:
        first = self._parameters.retry_first_seconds
        wait = min(RETRY_SECONDS_MAX, first * 2 ** min(entry.tries - 1, 20))
        due = now + timedelta(seconds=wait)
        age = (due - datetime.fromisoformat(entry.first_at)).total_seconds()
        if age > self._parameters.retry_seconds_max:
            gone = State.UNKNOWN if entry.state is State.UNKNOWN else State.GIVEN_UP
            return replace(entry, state=gone)
        return replace(entry, state=State.DEFERRED, due_at=due.isoformat())

    async def _store(self, changed: Mapping[str, Entry]) -> None:
        await self._context.record({key: asdict(entry) for key, entry in changed.items()})
        self._entries |= changed


def _entry(value: Mapping[str, Any]) -> Entry:
    fields: dict[str, Any] = {**value, "state": State(value["state"])}
    return Entry(**fields)
