"""Subscriptions to the events log, in the shape of the CloudEvents Subscriptions API.

All questions of this module are bound to the asking tenant: it sees, changes and receives its own.
"""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.filters import Filters
from lineshaft_contracts.job_control import Actor, Slug
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import EVENT_ROUTER_QUERIES

SUBSCRIPTIONS_MAX = 1_000
"""Of one tenant."""
SIGNING_KEY = r"^whsec_[A-Za-z0-9+/]{32,88}={0,2}$"
HEADER_NAME = r"^[A-Za-z0-9-]{1,64}$"
HEADER_TEXT = r"^[ -~]{0,512}$"
SINK = r"^https?://[!-~]{1,2040}$"
DAY_SECONDS = 86_400
WEEK_SECONDS = 7 * DAY_SECONDS

Topic = Annotated[str, StringConstraints(min_length=1, max_length=255)]
Key = Annotated[str, Field(min_length=1, max_length=520)]
"""What events are kept in order by: their `partitionkey`, else `source` and `subject`."""
SigningSecret = Annotated[str, StringConstraints(pattern=SIGNING_KEY)]
HeaderName = Annotated[str, StringConstraints(pattern=HEADER_NAME)]
HeaderText = Annotated[str, StringConstraints(pattern=HEADER_TEXT)]


class Protocol(StrEnum):
    """How events are delivered."""

    AMQP = "AMQP"
    HTTP = "HTTP"


class ProtocolSettings(Value):
    """How to deliver; what is absent has the default of the protocol."""

    headers: Annotated[dict[HeaderName, HeaderText], Field(max_length=16)] = Field(
        default_factory=dict[str, str]
    )
    """HTTP: sent with every request."""
    concurrency: Annotated[int, Field(ge=1, le=50)] = 8
    """HTTP: requests at once, each of another key."""
    timeout_seconds: Annotated[float, Field(ge=0.1, le=30)] = 15.0
    """HTTP: for one request, from the connection to the last byte of the answer."""
    retry_for_seconds: Annotated[float, Field(ge=0, le=WEEK_SECONDS)] = DAY_SECONDS
    """HTTP: after so long since its first attempt an event is parked, and its key with it."""
    retry_delay_seconds: Annotated[float, Field(ge=0.01, le=3600)] = 5.0
    """HTTP: bound of the first wait; it doubles with each attempt, the wait is random below it."""
    retry_delay_seconds_max: Annotated[float, Field(ge=0.01, le=DAY_SECONDS)] = 7200.0
    """HTTP: bound of all waits."""
    message_ttl_seconds: Annotated[int, Field(ge=1, le=30 * DAY_SECONDS)] | None = None
    """AMQP: messages that nobody took for so long are dropped. Cannot be changed later."""
    length_max: Annotated[int, Field(ge=1, le=1_000_000)] = 100_000
    """AMQP: a full queue takes nothing more; events wait in the log. Cannot be changed later."""


class SinkCredential(Value):
    """What requests are signed with, by Standard Webhooks; never returned."""

    secrets: Annotated[tuple[SigningSecret, ...], Field(min_length=1, max_length=2, repr=False)]
    """`whsec_` and 24 to 64 bytes in base64. With two of them each request carries both
    signatures, so that a receiver can change from one to the other."""


class Subscription(Value):
    """Which events, and where to."""

    source: Annotated[str, Field(min_length=1, max_length=255)] | None = None
    """Only events of exactly this source."""
    types: Annotated[tuple[Annotated[str, Field(max_length=128)], ...], Field(max_length=64)] = ()
    """Only these types; all when empty."""
    topics: Annotated[tuple[Topic, ...], Field(max_length=32)] = ()
    """Only events whose routing key one of these fits: `*` is one word, `#` any number."""
    filters: Filters = ()
    """All of them have to be true of an event."""
    protocol: Protocol
    sink: Annotated[str, StringConstraints(pattern=SINK)] | None = None
    """HTTP: the address that events are posted to. An AMQP subscription has a queue of its own."""
    protocolsettings: ProtocolSettings = ProtocolSettings()

    @model_validator(mode="after")
    def _has_what_its_protocol_needs(self) -> Self:
        if (self.protocol is Protocol.HTTP) != (self.sink is not None):
            raise ValueError("HTTP needs a sink, AMQP has none: it brings its own queue")
        return self


class SubscriptionState(StrEnum):
    """Whether events are delivered."""

    ACTIVE = "active"
    PAUSED = "paused"
    """By a person; events wait in the log."""
    DISABLED = "disabled"
    """By the router: `state_reason` says why. Events wait in the log; resume it to go on."""
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "SubscriptionState":
        return cls.UNKNOWN


class SubscriptionView(Value):
    """A subscription, and how far it is."""

    id: str
    subscription: Subscription
    state: SubscriptionState
    state_reason: str | None = None
    queue: str | None = None
    """AMQP: the name of the queue to consume."""
    secrets: int
    """HTTP: how many secrets sign."""
    position: int
    """Offset in the log of the first event that is neither delivered nor put aside."""
    lag_messages: int
    """Records of the log that it has still to look at, and what waits for another attempt."""
    lag_seconds: float
    """Age of the oldest event that waits; 0 when none does."""
    waiting: int
    """Events that wait for another attempt, or behind one of their key."""
    parked: int
    """Events of keys that were given up; redrive them."""
    missed: int
    """Records that left the log before it could read them."""
    created_at: Moment
    updated_at: Moment


class RouterQuery:
    """What the questions of this module share."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the event-router travel through one queue."""
        return "query"


def asks(name: str, kind: Kind) -> Any:
    """Register a question about subscriptions."""
    return message(
        f"lineshaft.subscriptions.{name}.v1",
        kind=kind,
        owner="event-router",
        exchange=EVENT_ROUTER_QUERIES,
        durable=False,
    )


def replies(name: str) -> Any:
    """Register an answer to one."""
    return message(f"lineshaft.subscriptions.{name}.v1", kind=Kind.REPLY, owner="event-router")


@replies("subscription")
class SubscriptionFound(Message):
    """A subscription as it is now."""

    subscription: SubscriptionView
    generated_secret: str | None = Field(default=None, repr=False)
    """Of a new one that came without a secret: it is told this once."""


@asks("set", Kind.COMMAND)
class SetSubscription(RouterQuery, Asking[SubscriptionFound]):
    """Make or replace a subscription. Idempotent by its id; an existing one keeps its place.

    Problems: `invalid_filters`, `invalid_subscription`, `sink_not_allowed`,
    `protocol_is_fixed`, `queue_settings_are_fixed`, `too_many_subscriptions`.
    """

    id: Slug
    subscription: Subscription
    sinkcredential: SinkCredential | None = None
    """None keeps the secrets; a new HTTP subscription without them gets one."""
    actor: Actor


@asks("get", Kind.QUERY)
class GetSubscription(RouterQuery, Asking[SubscriptionFound]):
    """One subscription; problem `subscription_not_found`."""

    id: Slug


@replies("page")
class SubscriptionPage(Message):
    """Answer to ListSubscriptions, by id."""

    subscriptions: tuple[SubscriptionView, ...]
    next_cursor: str | None = None


@asks("list", Kind.QUERY)
class ListSubscriptions(RouterQuery, Asking[SubscriptionPage]):
    """The subscriptions of the tenant."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None


@replies("deleted")
class SubscriptionDeleted(Message):
    """It is gone, with its queue, its waiting and its parked events."""

    id: str


@asks("delete", Kind.COMMAND)
class DeleteSubscription(RouterQuery, Asking[SubscriptionDeleted]):
    """Remove a subscription; problem `subscription_not_found`."""

    id: Slug
    actor: Actor


@asks("set-state", Kind.COMMAND)
class SetSubscriptionState(RouterQuery, Asking[SubscriptionFound]):
    """Pause a subscription, or let it go on where it stopped; also one that was disabled."""

    id: Slug
    paused: bool
    actor: Actor


class ReplayStart(Value):
    """From where: exactly one of three."""

    offset: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    """Of the log."""
    time: Moment | None = None
    """From the first event that was recorded then or later."""
    event_id: Annotated[str, Field(min_length=1, max_length=128)] | None = None
    """From this event of the tenant on, itself included."""

    @model_validator(mode="after")
    def _one(self) -> Self:
        given: tuple[int | datetime | str | None, ...] = (self.offset, self.time, self.event_id)
        if sum(one is not None for one in given) != 1:
            raise ValueError("give exactly one of offset, time and event_id")
        return self


@asks("replay", Kind.COMMAND)
class ReplaySubscription(RouterQuery, Asking[SubscriptionFound]):
    """Deliver again from a place in the log, in order, and then what is new.

    Events from there on that wait or are parked are read again, too. Problems:
    `event_not_found` when the log does not have it (any more).
    """

    id: Slug
    start: ReplayStart
    actor: Actor
