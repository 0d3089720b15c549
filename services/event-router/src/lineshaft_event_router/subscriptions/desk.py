"""Answers what people ask of subscriptions, and makes the changes that they order."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from lineshaft_common.messaging.bus import Answer, Bus, answers
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.subscriptions import (
    DeleteSubscription,
    GetSubscription,
    ListSubscriptions,
    ReplaySubscription,
    SetSubscription,
    SetSubscriptionState,
    Subscription,
    SubscriptionDeleted,
    SubscriptionFound,
    SubscriptionPage,
    SubscriptionView,
)
from lineshaft_contracts.subscriptions import Protocol as SinkProtocol

from lineshaft_event_router.subscriptions.addresses import AddressGuard
from lineshaft_event_router.subscriptions.checking import check, check_change
from lineshaft_event_router.subscriptions.log_search import (
    NotInLogError,
    find_head,
    find_start,
)
from lineshaft_event_router.subscriptions.queue_courier import queue_for
from lineshaft_event_router.subscriptions.signing import make_secret


@dataclass(frozen=True, kw_only=True)
class Change:
    """What somebody does to a subscription, for the audit."""

    tenant: str
    id: str
    actor: str
    action: str
    details: dict[str, Any] = field(default_factory=dict[str, Any])

    def told(self, **details: Any) -> "Change":
        """Add details."""
        return replace(self, details={**self.details, **details})


class TooManyError(Exception):
    """The tenant has as many subscriptions as it may have."""


class Book(Protocol):
    """Where subscriptions are kept; see store.subscriptions."""

    async def find(self, tenant: str, id_: str) -> SubscriptionView | None:
        """Look up a subscription."""
        ...

    async def page(
        self, tenant: str, *, after: str | None, limit: int, id_: str | None = None
    ) -> list[SubscriptionView]:
        """List subscriptions by id."""
        ...

    async def put(
        self,
        change: Change,
        subscription: Subscription,
        secrets: tuple[str, ...] | None,
        position: int,
    ) -> None:
        """Make a subscription, or replace one; raises TooManyError."""
        ...

    async def delete(self, change: Change) -> bool:
        """Remove a subscription with all its events; whether there was one."""
        ...

    async def set_state(self, change: Change, *, paused: bool) -> bool:
        """Pause or resume; whether there is such a subscription."""
        ...

    async def replay(self, change: Change, offset: int) -> bool:
        """Let a subscription read from an offset; whether there is one."""
        ...


class SubscriptionDesk:
    """Every answer is bound to the tenant of the envelope."""

    def __init__(
        self,
        book: Book,
        bus: Bus,
        guard: AddressGuard,
        *,
        head: Callable[[], int | None],
        on_change: Callable[[], None],
    ) -> None:
        self._book = book
        self._bus = bus
        self._guard = guard
        self._head = head
        self._on_change = on_change

    def answers(self) -> tuple[Answer, ...]:
        """Pair each question with its answer."""
        return (
            answers(SetSubscription, self.set),
            answers(GetSubscription, self.get),
            answers(ListSubscriptions, self.list_page),
            answers(DeleteSubscription, self.delete),
            answers(SetSubscriptionState, self.set_state),
            answers(ReplaySubscription, self.replay),
        )

    async def set(self, envelope: Envelope[SetSubscription]) -> SubscriptionFound:
        """Make or replace a subscription; idempotent by its id."""
        command, tenant = envelope.data, envelope.tenant
        check(command, self._guard)
        wanted = command.subscription
        before = await self._book.find(tenant, command.id)
        generated: str | None = None
        secrets = None if command.sinkcredential is None else command.sinkcredential.secrets
        position = 0
        if before is not None:
            check_change(before, wanted)
        else:
            position = await self._end_of_log()
            if wanted.protocol is SinkProtocol.HTTP and secrets is None:
                generated = make_secret()
                secrets = (generated,)
        if wanted.protocol is SinkProtocol.AMQP:
            await self._bus.declare(queue_for(tenant, command.id, wanted))
        change = _change(envelope, "set", subscription=wanted.model_dump(mode="json"))
        try:
            await self._book.put(change, wanted, secrets, position)
        except TooManyError:
            raise ProblemError(TOO_MANY) from None
        return await self._changed(tenant, command.id, generated)

    async def get(self, envelope: Envelope[GetSubscription]) -> SubscriptionFound:
        """Answer GetSubscription."""
        return SubscriptionFound(subscription=await self._found(envelope.tenant, envelope.data.id))

    async def list_page(self, envelope: Envelope[ListSubscriptions]) -> SubscriptionPage:
        """Answer ListSubscriptions; the cursor is the last id of the page before."""
        question = envelope.data
        found = await self._book.page(
            envelope.tenant, after=question.cursor, limit=question.limit + 1
        )
        shown = tuple(found[: question.limit])
        return SubscriptionPage(
            subscriptions=shown, next_cursor=shown[-1].id if len(found) > len(shown) else None
        )

    async def delete(self, envelope: Envelope[DeleteSubscription]) -> SubscriptionDeleted:
        """Remove a subscription; its queue goes once nothing is sent there."""
        if not await self._book.delete(_change(envelope, "delete")):
            raise ProblemError(NOT_FOUND)
        self._on_change()
        return SubscriptionDeleted(id=envelope.data.id)

    async def set_state(self, envelope: Envelope[SetSubscriptionState]) -> SubscriptionFound:
        """Pause or resume; a resumed one goes on where it stopped."""
        paused = envelope.data.paused
        change = _change(envelope, "pause" if paused else "resume")
        if not await self._book.set_state(change, paused=paused):
            raise ProblemError(NOT_FOUND)
        return await self._changed(envelope.tenant, envelope.data.id)

    async def replay(self, envelope: Envelope[ReplaySubscription]) -> SubscriptionFound:
        """Let one subscription read again, from a place that is looked up first."""
        command, tenant = envelope.data, envelope.tenant
        await self._found(tenant, command.id)
        try:
            offset = await find_start(self._bus, command.start, tenant)
        except NotInLogError:
            raise ProblemError(NOT_IN_LOG) from None
        details = command.start.model_dump(mode="json", exclude_none=True)
        if not await self._book.replay(_change(envelope, "replay", **details), offset):
            raise ProblemError(NOT_FOUND)
        return await self._changed(tenant, command.id)

    async def _found(self, tenant: str, id_: str) -> SubscriptionView:
        found = await self._book.find(tenant, id_)
        if found is None:
            raise ProblemError(NOT_FOUND)
        return found

    async def _changed(
        self, tenant: str, id_: str, generated: str | None = None
    ) -> SubscriptionFound:
        self._on_change()
        found = await self._found(tenant, id_)
        return SubscriptionFound(subscription=found, generated_secret=generated)

    async def _end_of_log(self) -> int:
        """Say where a new subscription begins: what is accepted after the answer, it gets."""
        head = self._head()
        return (await find_head(self._bus) if head is None else head) + 1


def _change(envelope: Envelope[Any], action: str, **details: Any) -> Change:
    command = envelope.data
    return Change(
        tenant=envelope.tenant,
        id=command.id,
        actor=command.actor,
        action=action,
        details=details,
    )


NOT_FOUND = Problem(
    code="subscription_not_found", title="There is no such subscription", status=404
)
NOT_IN_LOG = Problem(
    code="event_not_found",
    title="The log does not have this event",
    detail="It was never there, or is older than what the log keeps.",
    status=404,
)
TOO_MANY = Problem(
    code="too_many_subscriptions", title="The tenant has too many subscriptions", status=409
)
