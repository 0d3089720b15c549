"""`/api/dead-letters`: what is asked of the event-router, and who may ask."""

from typing import Any

import pytest
from lineshaft_common.messaging.bus import answers
from lineshaft_contracts.dead_letters import (
    DeadLetterAudit,
    DeadLetterFound,
    DeadLetterPage,
    DeadLettersRedriven,
    GetDeadLetter,
    ListDeadLetterAudit,
    ListDeadLetters,
    RedriveDeadLetters,
)
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.topology import EVENT_ROUTER_ASKED
from lineshaft_gateway.keys import Scope

from .conftest import World, pointers, problem

NOT_FOUND = Problem(code="dead_letter_not_found", title="No", status=404)


class Router:
    """An event-router without dead letters, that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def page(self, question: Envelope[ListDeadLetters]) -> DeadLetterPage:
        self.asked.append(question.data)
        return DeadLetterPage(letters=(), total=0)

    async def get(self, question: Envelope[GetDeadLetter]) -> DeadLetterFound:
        self.asked.append(question.data)
        raise ProblemError(NOT_FOUND)

    async def audit(self, question: Envelope[ListDeadLetterAudit]) -> DeadLetterAudit:
        return DeadLetterAudit(entries=())

    async def redrive(self, question: Envelope[RedriveDeadLetters]) -> DeadLettersRedriven:
        self.asked.append(question.data)
        return DeadLettersRedriven(matched=3, redriven=2, remaining=1)


@pytest.fixture
async def router(world: World) -> Router:
    made = Router()
    await world.stack.enter_async_context(
        world.bus.serve(
            EVENT_ROUTER_ASKED,
            answers(ListDeadLetters, made.page),
            answers(GetDeadLetter, made.get),
            answers(ListDeadLetterAudit, made.audit),
            answers(RedriveDeadLetters, made.redrive),
        )
    )
    return made


async def test_filters_and_pace_reach_the_event_router(world: World, router: Router) -> None:
    key = world.key()
    query = "queue=monitor.plant&reason=handler_failed&limit=7&cursor=9"
    response = await world.client.get(f"/api/dead-letters?{query}", headers=key)
    assert response.status == 200
    body = {"type": "a.b.v1", "ids": [4, 5], "dry_run": True, "per_second": 20}
    response = await world.client.post("/api/dead-letters/redrive", json=body, headers=key)
    assert await response.json() == {"matched": 3, "redriven": 2, "remaining": 1, "errors": []}
    listed, sent = router.asked
    assert (listed.matching.queue, listed.matching.reason) == ("monitor.plant", "handler_failed")
    assert (listed.limit, listed.before) == (7, 9)
    assert (sent.matching.type, sent.matching.ids) == ("a.b.v1", (4, 5))
    assert (sent.dry_run, sent.per_second, sent.limit) == (True, 20, 500)
    assert key["Authorization"].startswith(f"Bearer lsk_{sent.actor}_")
    response = await world.client.get("/api/dead-letters-audit", headers=key)
    assert await response.json() == {"entries": []}


@pytest.mark.parametrize("id_", ["7", "x", "0", "99999999999999999999"])
async def test_a_letter_that_is_not_there_is_a_problem(
    world: World, router: Router, id_: str
) -> None:
    response = await world.client.get(f"/api/dead-letters/{id_}", headers=world.key())
    await problem(response, 404, "dead_letter_not_found")
    assert len(router.asked) == (id_ == "7")


async def test_only_an_administrator_may_look_and_send(world: World, router: Router) -> None:
    key = world.key("acme", Scope.SYSTEM_READ, Scope.EVENTS_READ, Scope.EVENTS_WRITE)
    for path in ("", "/7", "-audit"):
        response = await world.client.get(f"/api/dead-letters{path}", headers=key)
        await problem(response, 403, "missing_scope")
    response = await world.client.post("/api/dead-letters/redrive", json={}, headers=key)
    await problem(response, 403, "missing_scope")
    assert router.asked == []


async def test_a_misspelt_filter_sends_nothing(world: World, router: Router) -> None:
    response = await world.client.post(
        "/api/dead-letters/redrive", json={"que": "monitor.plant"}, headers=world.key()
    )
    assert pointers(await problem(response, 422, "invalid_input")) == ["/que"]
    assert router.asked == []
