"""How the monitor notices that it is blind."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from lineshaft_contracts.monitoring import HealthStatus
from lineshaft_monitor import components
from lineshaft_monitor.components import Component

NOW = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)


class Server:
    def __init__(self) -> None:
        self.error: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()
        self.calls = 0

    async def check(self) -> None:
        self.calls += 1
        try:
            await self.answering.wait()
        finally:
            await self.answering.wait()  # A call that is cancelled hangs at its end as well.
        if self.error is not None:
            raise self.error


async def test_a_server_that_fails_is_tried_again_at_once_and_one_that_works_is_spared() -> None:
    server = Server()
    component = Component("rabbitmq", server.check, NOW)
    for second in range(6):
        seen = await component.examine(NOW + timedelta(seconds=second))
        assert seen.value == 0
    assert server.calls == 2
    server.error = ConnectionError("refused")
    seen = await component.examine(NOW + timedelta(seconds=10))
    assert (seen.value, component.health.detail) == (1, "ConnectionError: refused")
    assert component.health.since == NOW + timedelta(seconds=10)
    server.error = None
    seen = await component.examine(NOW + timedelta(seconds=11))
    assert (seen.value, component.health.status) == (0, HealthStatus.PASS)


async def test_a_server_that_hangs_does_not_hang_the_monitor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(components, "DEADLINE_SECONDS", 0.01)
    server = Server()
    component = Component("rabbitmq", server.check, NOW)
    server.answering.clear()
    for second in range(3):
        seen = await component.examine(NOW + timedelta(seconds=second))
        assert seen.value == 1
    assert server.calls == 1
    server.answering.set()
    await component.examine(NOW + timedelta(seconds=3))
    seen = await component.examine(NOW + timedelta(seconds=4))
    assert seen.value == 0
