"""What became of deliveries: attempts, parked events and their redrive, and who changed what.

All questions of this module are bound to the asking tenant: it sees its own.
"""

from typing import Annotated
from uuid import UUID

from pydantic import Field, JsonValue

from lineshaft_contracts.envelope import Asking, Message, Moment, Value
from lineshaft_contracts.job_control import Actor, Slug
from lineshaft_contracts.registry import Kind
from lineshaft_contracts.subscriptions import Key, RouterQuery, asks, replies


class DeliveryAttempt(Value):
    """One attempt to deliver an event, or why there was none."""

    at: Moment
    event_id: str
    event_type: str
    key: str
    offset: int
    attempt: int
    """From 1; of a parked one that was redriven, it goes on."""
    outcome: str
    """delivered, failed, parked, expired or disabled."""
    status: int | None = None
    """Of the HTTP answer."""
    milliseconds: float | None = None
    detail: str = ""


@replies("deliveries")
class DeliveryPage(Message):
    """Answer to ListDeliveries, newest first."""

    deliveries: tuple[DeliveryAttempt, ...]
    next_cursor: str | None = None


@asks("list-deliveries", Kind.QUERY)
class ListDeliveries(RouterQuery, Asking[DeliveryPage]):
    """The latest attempts of an HTTP subscription."""

    id: Slug
    failed_only: bool = False
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=32)] | None = None


class ParkedEvent(Value):
    """An event of a key that was given up: the first failed, the others wait behind it."""

    offset: int
    key: str
    event_id: str
    event_type: str
    attempts: int
    """0 of one that waits behind another."""
    error: str
    first_failed_at: Moment | None
    parked_at: Moment


@replies("parked-page")
class ParkedPage(Message):
    """Answer to ListParked, oldest first."""

    events: tuple[ParkedEvent, ...]
    next_cursor: str | None = None


@asks("list-parked", Kind.QUERY)
class ListParked(RouterQuery, Asking[ParkedPage]):
    """The parked events of a subscription."""

    id: Slug
    key: Key | None = None
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=32)] | None = None


class RedriveParked(Value):
    """Which parked keys to try again; all conditions have to hold."""

    key: Key | None = None
    parked_before: Moment | None = None
    keys_max: Annotated[int, Field(ge=1, le=10_000)] = 1_000
    """The oldest first."""
    keys_per_second: Annotated[float, Field(gt=0, le=1_000)] = 10.0
    dry_run: bool = False
    """Only count."""
    reason: Annotated[str, Field(max_length=500)] = ""


@replies("redriven")
class ParkedRedriven(Message):
    """How many keys match, and how many events of them are tried again."""

    id: UUID
    """Of the audit record."""
    keys: int
    events: int
    redriven: int
    """Keys; 0 of a dry run."""


@asks("redrive", Kind.COMMAND)
class RedriveSubscription(RouterQuery, Asking[ParkedRedriven]):
    """Deliver parked events again, each key in its order, to this subscription alone."""

    id: Slug
    redrive: RedriveParked
    actor: Actor


class SubscriptionAuditEntry(Value):
    """Something that a person or a program did to a subscription."""

    id: UUID
    at: Moment
    actor: str
    action: str
    """set, delete, pause, resume, replay or redrive."""
    subscription: str
    details: dict[str, JsonValue]


@replies("audit")
class SubscriptionAudit(Message):
    """Answer to ListSubscriptionAudit, newest first."""

    entries: tuple[SubscriptionAuditEntry, ...]
    next_cursor: str | None = None


@asks("list-audit", Kind.QUERY)
class ListSubscriptionAudit(RouterQuery, Asking[SubscriptionAudit]):
    """What was done to the subscriptions of the tenant, and by whom."""

    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=64)] | None = None
