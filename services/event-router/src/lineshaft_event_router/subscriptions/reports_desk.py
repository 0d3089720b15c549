"""Answers about what was delivered, what is parked and who did what, and redrives."""

from typing import Protocol
from uuid import UUID

from lineshaft_common.messaging.bus import Answer, answers
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.subscription_reports import (
    DeliveryAttempt,
    DeliveryPage,
    ListDeliveries,
    ListParked,
    ListSubscriptionAudit,
    ParkedEvent,
    ParkedPage,
    ParkedRedriven,
    RedriveParked,
    RedriveSubscription,
    SubscriptionAudit,
    SubscriptionAuditEntry,
)

from lineshaft_event_router.subscriptions.desk import NOT_FOUND, Book, Change

CURSOR_LENGTH_MAX = 18


class Reports(Protocol):
    """Where it is kept; see store.subscription_reports."""

    async def deliveries(
        self, tenant: str, question: ListDeliveries, before: int | None
    ) -> tuple[list[DeliveryAttempt], int | None]:
        """List attempts, newest first; and where the next page begins."""
        ...

    async def parked(
        self, tenant: str, question: ListParked, after: int | None
    ) -> tuple[list[ParkedEvent], int | None]:
        """List parked events, oldest first; and where the next page begins."""
        ...

    async def redrive(self, change: Change, redrive: RedriveParked) -> ParkedRedriven:
        """Let parked keys be tried again; count them alone of a dry run."""
        ...

    async def audit_page(
        self, tenant: str, question: ListSubscriptionAudit, before: UUID | None
    ) -> tuple[list[SubscriptionAuditEntry], UUID | None]:
        """List what was done, newest first; and where the next page begins."""
        ...


class ReportsDesk:
    """Every answer is bound to the tenant of the envelope."""

    def __init__(self, book: Book, reports: Reports) -> None:
        self._book = book
        self._reports = reports

    def answers(self) -> tuple[Answer, ...]:
        """Pair each question with its answer."""
        return (
            answers(ListDeliveries, self.list_deliveries),
            answers(ListParked, self.list_parked),
            answers(RedriveSubscription, self.redrive),
            answers(ListSubscriptionAudit, self.list_audit),
        )

    async def list_deliveries(self, envelope: Envelope[ListDeliveries]) -> DeliveryPage:
        """Answer ListDeliveries."""
        question = envelope.data
        await self._must_exist(envelope.tenant, question.id)
        before = _number(question.cursor)
        found, following = await self._reports.deliveries(envelope.tenant, question, before)
        return DeliveryPage(deliveries=tuple(found), next_cursor=_cursor(following))

    async def list_parked(self, envelope: Envelope[ListParked]) -> ParkedPage:
        """Answer ListParked."""
        question = envelope.data
        await self._must_exist(envelope.tenant, question.id)
        after = _number(question.cursor)
        found, following = await self._reports.parked(envelope.tenant, question, after)
        return ParkedPage(events=tuple(found), next_cursor=_cursor(following))

    async def redrive(self, envelope: Envelope[RedriveSubscription]) -> ParkedRedriven:
        """Try parked keys again; a repeat finds none of them parked."""
        command = envelope.data
        await self._must_exist(envelope.tenant, command.id)
        change = Change(
            tenant=envelope.tenant,
            id=command.id,
            actor=command.actor,
            action="redrive",
            details=command.redrive.model_dump(mode="json", exclude_none=True),
        )
        return await self._reports.redrive(change, command.redrive)

    async def list_audit(self, envelope: Envelope[ListSubscriptionAudit]) -> SubscriptionAudit:
        """Answer ListSubscriptionAudit."""
        question = envelope.data
        try:
            before = None if question.cursor is None else UUID(question.cursor)
        except ValueError:
            raise ProblemError(BAD_CURSOR) from None
        found, following = await self._reports.audit_page(envelope.tenant, question, before)
        return SubscriptionAudit(entries=tuple(found), next_cursor=_cursor(following))

    async def _must_exist(self, tenant: str, id_: str) -> None:
        if await self._book.find(tenant, id_) is None:
            raise ProblemError(NOT_FOUND)


def _number(cursor: str | None) -> int | None:
    if cursor is None:
        return None
    if len(cursor) > CURSOR_LENGTH_MAX or not (cursor.isascii() and cursor.isdecimal()):
        raise ProblemError(BAD_CURSOR)
    return int(cursor)


def _cursor(following: int | UUID | None) -> str | None:
    return None if following is None else str(following)


BAD_CURSOR = Problem(
    code="invalid_input",
    title="The input is not valid",
    detail="1 field(s) need attention",
    status=422,
    errors=(FieldProblem(pointer="/cursor", code="cursor", message="is not from a page"),),
)
