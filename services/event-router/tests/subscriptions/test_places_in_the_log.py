"""Positions that the log does not have."""

from collections.abc import AsyncGenerator

import pytest
from lineshaft_contracts.subscriptions import (
    GetSubscription,
    ReplayStart,
    ReplaySubscription,
)
from lineshaft_contracts.topology import EVENTS_LOG

from .places import Shop, shop_of

pytestmark = pytest.mark.integration


@pytest.fixture
async def shop(fresh_amqp_url: str, postgres_url: str) -> AsyncGenerator[Shop]:
    async with shop_of(fresh_amqp_url, postgres_url) as made:
        yield made


async def test_a_log_that_was_made_anew_is_read_from_its_beginning(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("mes")
        await shop.send(20)
        await shop.until(lambda: len(shop.receiver.requests) == 20)

        async def is_kept() -> bool:
            return (await shop.ask(GetSubscription(id="mes"))).subscription.position == 20

        await shop.until(is_kept)
    await shop.bus.delete(EVENTS_LOG)
    await shop.bus.declare(EVENTS_LOG)
    async with shop.router():
        ids = await shop.send(3)
        await shop.until(lambda: len(shop.receiver.requests) == 23)
        assert [one.event["id"] for one in shop.receiver.requests[20:]] == ids


async def test_a_replay_from_beyond_the_end_begins_at_the_end(shop: Shop) -> None:
    async with shop.router():
        await shop.subscribe("mes")
        await shop.send(2)
        await shop.until(lambda: len(shop.receiver.requests) == 2)
        start = ReplayStart(offset=2**60)
        found = await shop.ask(ReplaySubscription(id="mes", start=start, actor="anna"))
        assert found.subscription.position == 2
        await shop.send(2)
        await shop.until(lambda: len(shop.receiver.requests) == 4)
