"""Answers to the questions about what came in; each tenant hears of its own events alone."""

from typing import Protocol

from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_contracts.routing import (
    EventStats,
    GetEventStats,
    ListQuarantined,
    QuarantinePage,
)

_CURSOR_LENGTH_MAX = 18  # It stands for a bigint.


class Book(Protocol):
    """Where events are counted; see store.py."""

    async def stats(self, *, tenant: str | None) -> EventStats:
        """Add up the events of a tenant, or of all."""
        ...


class Quarantine(Protocol):
    """Where refused events are listed; see store.py."""

    async def page(
        self, question: ListQuarantined, *, tenant: str | None, before: int | None
    ) -> QuarantinePage:
        """List the refused events of a tenant, or of all, latest first."""
        ...


class Answering:
    """Answers over AMQP what the gateway is asked over HTTP."""

    def __init__(self, book: Book, quarantine: Quarantine) -> None:
        self._book = book
        self._quarantine = quarantine

    async def get_stats(self, envelope: Envelope[GetEventStats]) -> EventStats:
        """Answer GetEventStats."""
        return await self._book.stats(tenant=_whose(envelope.tenant))

    async def list_quarantined(self, envelope: Envelope[ListQuarantined]) -> QuarantinePage:
        """Answer ListQuarantined."""
        question = envelope.data
        return await self._quarantine.page(
            question, tenant=_whose(envelope.tenant), before=_before(question.cursor)
        )


def _whose(tenant: str) -> str | None:
    return None if tenant == PLATFORM_TENANT else tenant


def _before(cursor: str | None) -> int | None:
    """Read a cursor, or raise ProblemError."""
    if cursor is None:
        return None
    if len(cursor) > _CURSOR_LENGTH_MAX or not (cursor.isascii() and cursor.isdecimal()):
        raise ProblemError(
            Problem(
                code="invalid_input",
                title="The input is not valid",
                detail="1 field(s) need attention",
                status=422,
                errors=(
                    FieldProblem(pointer="/cursor", code="cursor", message="is not from a page"),
                ),
            )
        )
    return int(cursor)
