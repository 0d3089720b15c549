"""Who is told what about accepted and refused events."""

from collections.abc import AsyncGenerator
from datetime import UTC, datetime

import pytest
from lineshaft_common.messaging import answers
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.envelope import PLATFORM_TENANT
from lineshaft_contracts.problems import ProblemError
from lineshaft_contracts.routing import (
    EventStats,
    GetEventStats,
    ListQuarantined,
    QuarantinePage,
)
from lineshaft_contracts.topology import EVENT_ROUTER_ASKED
from lineshaft_event_router.answering import Answering


class Ledger:
    """Both books; remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def stats(self, *, tenant: str | None) -> EventStats:
        self.asked.append(tenant)
        return EventStats(
            at=datetime.now(UTC),
            accepted=7,
            repeated=1,
            refused=0,
            last_accepted_at=None,
            by_type=(),
            by_code=(),
        )

    async def page(
        self, question: ListQuarantined, *, tenant: str | None, before: int | None
    ) -> QuarantinePage:
        self.asked.append((tenant, question.code, question.limit, before))
        return QuarantinePage(events=(), next_cursor="12")


class Desk:
    def __init__(self) -> None:
        self.bus = MemoryBus()
        self.ledger = Ledger()

    async def stats(self, tenant: str) -> EventStats:
        return await self.bus.ask(GetEventStats(), tenant=tenant, source="/services/gateway")

    async def page(self, tenant: str = "acme", **asked: object) -> QuarantinePage:
        question = ListQuarantined.model_validate(asked)
        return await self.bus.ask(question, tenant=tenant, source="/services/gateway")


@pytest.fixture
async def desk() -> AsyncGenerator[Desk]:
    made = Desk()
    answering = Answering(made.ledger, made.ledger)
    async with made.bus.serve(
        EVENT_ROUTER_ASKED,
        answers(GetEventStats, answering.get_stats),
        answers(ListQuarantined, answering.list_quarantined),
    ):
        yield made


async def test_a_tenant_is_told_of_its_own_events(desk: Desk) -> None:
    assert (await desk.stats("acme")).accepted == 7
    await desk.page()
    assert desk.ledger.asked == ["acme", ("acme", None, 50, None)]


async def test_the_platform_is_told_of_all(desk: Desk) -> None:
    await desk.stats(PLATFORM_TENANT)
    await desk.page(PLATFORM_TENANT)
    assert desk.ledger.asked == [None, (None, None, 50, None)]


async def test_a_page_goes_on_where_the_last_one_ended(desk: Desk) -> None:
    first = await desk.page(code="invalid_event", limit=3)
    await desk.page(code="invalid_event", limit=3, cursor=first.next_cursor)
    assert desk.ledger.asked[-1] == ("acme", "invalid_event", 3, 12)


@pytest.mark.parametrize("cursor", ["", "-1", "abc", "1e3", "٣", "9" * 19, "1\0"])
async def test_a_cursor_that_is_none_is_refused_with_its_name(desk: Desk, cursor: str) -> None:
    with pytest.raises(ProblemError) as refused:
        await desk.page(cursor=cursor)
    problem = refused.value.problem
    assert (problem.status, problem.code) == (422, "invalid_input")
    assert [error.pointer for error in problem.errors] == ["/cursor"]
    assert not desk.ledger.asked
