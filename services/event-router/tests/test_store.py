"""Counts and quarantine in PostgreSQL."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from lineshaft_common import postgres
from lineshaft_common.postgres import Pool
from lineshaft_contracts.door import validate_plant_event
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import FieldProblem, Problem
from lineshaft_contracts.routing import ListQuarantined
from lineshaft_event_router.refusal import Refusal
from lineshaft_event_router.store import EventBook, Inbox, Quarantine, events
from pydantic_core import to_json

from .plant_floor import event

pytestmark = pytest.mark.integration


@pytest.fixture
async def pool(postgres_url: str) -> AsyncGenerator[Pool]:
    packages = ("lineshaft_common", "lineshaft_event_router")
    async with postgres.connect(postgres_url, *packages, name="test") as made:
        yield made


def envelope(**changes: Any) -> Envelope[Any]:
    return validate_plant_event(to_json(event(**changes)))


def refused(number: int, *, tenant: str = "acme", code: str = "invalid_event") -> Refusal:
    nasty = FieldProblem(pointer='/data/a\0"\\u0000', code="extra_forbidden", message="\0 é \n")
    return Refusal(
        lane="high",
        tenant=tenant,
        problem=Problem(code=code, title="No", detail="1 field", errors=(nasty,)),
        event_id=str(number),
        source=None,
        event_type="plant.quality.alert-raised.v1",
        body_bytes=number,
    )


async def test_counts_add_up_by_type_and_priority(pool: Pool) -> None:
    inbox, book = Inbox(pool, on_accepted=lambda: None), EventBook(pool)
    one, two = envelope(), envelope(priority="critical")
    there = envelope(tenant="umbrella", source="/umbrella/north")
    await inbox.accept([one, one, two])
    await inbox.accept([there, one])
    stats = await book.stats(tenant="acme")
    assert (stats.accepted, stats.repeated, stats.refused) == (2, 2, 0)
    counts = {entry.priority.value: (entry.accepted, entry.repeated) for entry in stats.by_type}
    assert counts == {"critical": (1, 0), "normal": (1, 2)}
    assert stats.last_accepted_at == max(entry.last_accepted_at for entry in stats.by_type)
    everybody = await book.stats(tenant=None)
    assert (everybody.accepted, everybody.repeated) == (3, 2)
    assert (await book.stats(tenant="nobody")).last_accepted_at is None


async def test_a_repeated_event_is_no_news(pool: Pool) -> None:
    inbox, book = Inbox(pool, on_accepted=lambda: None), EventBook(pool)
    one = envelope()
    await inbox.accept([one])
    (before,) = (await book.stats(tenant=None)).by_type
    await inbox.accept([one])
    (after,) = (await book.stats(tenant=None)).by_type
    assert after.last_accepted_at == before.last_accepted_at


async def test_refusals_are_listed_latest_first_and_page_by_page(pool: Pool) -> None:
    quarantine = Quarantine(pool)
    await quarantine.record([refused(number) for number in range(5)])
    await quarantine.record([refused(5, tenant="umbrella"), refused(6, code="event_too_large")])
    pages, before = list[list[str | None]](), None
    while True:
        page = await quarantine.page(ListQuarantined(limit=4), tenant="acme", before=before)
        pages.append([one.event_id for one in page.events])
        if page.next_cursor is None:
            break
        before = int(page.next_cursor)
    assert pages == [["6", "4", "3", "2"], ["1", "0"]]
    question = ListQuarantined(code="event_too_large")
    found = await quarantine.page(question, tenant=None, before=None)
    assert [one.body_bytes for one in found.events] == [6]
    by_code = {one.code: one.refused for one in (await EventBook(pool).stats(tenant=None)).by_code}
    assert by_code == {"invalid_event": 6, "event_too_large": 1}


async def test_what_is_wrong_with_a_field_is_kept_to_the_letter(pool: Pool) -> None:
    quarantine, one = Quarantine(pool), refused(1)
    await quarantine.record([one])
    (found,) = (await quarantine.page(ListQuarantined(), tenant="acme", before=None)).events
    assert found.errors == one.problem.errors
    assert (found.lane, found.code, found.detail) == ("high", "invalid_event", "1 field")
    assert (found.event_id, found.source) == ("1", None)


async def test_the_oldest_refusals_are_forgotten(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "QUARANTINE_MAX", 3)
    quarantine = Quarantine(pool)
    for number in range(5):
        await quarantine.record([refused(number)])
    page = await quarantine.page(ListQuarantined(), tenant=None, before=None)
    assert [one.event_id for one in page.events] == ["4", "3", "2"]
