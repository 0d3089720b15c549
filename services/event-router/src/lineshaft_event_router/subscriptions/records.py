"""What the parts of delivery hand to each other."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from hashlib import blake2b
from typing import Any

from lineshaft_common.messaging.bus import LogRecord
from lineshaft_contracts.subscriptions import Subscription, SubscriptionState
from pydantic_core import from_json


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """An event of the log that a subscription wants."""

    offset: int
    key: str
    """Events of one key are delivered in the order of the log."""
    id: str
    type: str
    message_id: str
    """Names the event to receivers: the same for every attempt and every replay."""
    body: bytes = field(repr=False)
    expires_at: datetime | None = None
    recorded_at: datetime | None = None
    tenant: str = ""
    priority: str = "normal"
    traceparent: str | None = None
    tracestate: str | None = None


class UnreadableError(ValueError):
    """A record of the log is no CloudEvent."""


def parse(body: bytes) -> dict[str, Any]:
    """Read the attributes and the payload of an event; raises UnreadableError."""
    try:
        event: Any = from_json(body, cache_strings="keys")
        for name in ("id", "source", "type"):
            if not isinstance(event[name], str):
                raise UnreadableError(f"its {name} is no text")
    except (ValueError, TypeError, KeyError) as error:
        raise UnreadableError(str(error)[:200]) from None
    return event


def event_of(record: LogRecord, event: dict[str, Any]) -> LogEvent:
    """Take from a record what delivering needs."""
    headers = record.headers
    traceparent, tracestate = headers.get("traceparent"), headers.get("tracestate")
    return LogEvent(
        offset=record.offset,
        key=_plain(key_of(event)),
        id=_plain(event["id"]),
        type=_plain(event["type"]),
        message_id=message_id_of(event),
        body=record.body,
        expires_at=_moment(event.get("expirytime")),
        recorded_at=_moment(event.get("recordedtime") or event.get("time")),
        tenant=record.tenant,
        priority=str(event.get("priority") or "normal"),
        traceparent=traceparent if isinstance(traceparent, str) else None,
        tracestate=tracestate if isinstance(tracestate, str) else None,
    )


def key_of(event: dict[str, Any]) -> str:
    """Name what an event is kept in order by: its partition key, else its source and subject."""
    partition = event.get("partitionkey")
    if isinstance(partition, str) and partition:
        return partition
    return f"{event['source']} {event.get('subject') or ''}".rstrip()


def message_id_of(event: dict[str, Any]) -> str:
    """Name an event to receivers, whatever characters its own id has."""
    whole = "\0".join((str(event.get("tenant") or ""), event["source"], event["id"]))
    return f"msg_{blake2b(whole.encode('utf-8', 'surrogatepass'), digest_size=16).hexdigest()}"


def _plain(text: str) -> str:
    """Replace what PostgreSQL cannot keep."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")


def _moment(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A subscription as the database has it."""

    tenant: str
    id: str
    version: int
    """Grows with every change that a person makes."""
    replays: int
    """Grows with every replay: positions of before count no more."""
    subscription: Subscription
    secrets: tuple[str, ...] = field(repr=False)
    state: SubscriptionState
    position: int

    @property
    def key(self) -> tuple[str, str]:
        """Its name in the whole system."""
        return self.tenant, self.id


@dataclass(frozen=True, kw_only=True)
class HeldHead:
    """A key of which events wait for another attempt, and its first event's fate so far."""

    key: str
    events: int
    attempts: int
    first_failed_at: datetime | None
    due_at: datetime
    parked: bool


@dataclass(frozen=True, kw_only=True)
class Failure:
    """What is kept of an attempt that failed."""

    attempts: int
    first_failed_at: datetime
    due_at: datetime
    error: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a subscription is."""

    tenant: str
    id: str
    replays: int
    position: int
    lag_messages: int
    oldest_at: datetime | None
    missed: int


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A line of the delivery log."""

    tenant: str
    subscription: str
    at: datetime
    event_id: str
    event_type: str
    key: str
    offset: int
    attempt: int
    outcome: str
    status: int | None = None
    milliseconds: float | None = None
    detail: str = ""


class Verdict(Enum):
    """What became of a request."""

    DELIVERED = "delivered"
    FAILED = "failed"
    GONE = "gone"
    """The receiver wants nothing more."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a receiver answered, or why it could not be asked."""

    verdict: Verdict
    status: int | None = None
    detail: str = ""
    retry_after_seconds: float | None = None
    milliseconds: float = 0.0
