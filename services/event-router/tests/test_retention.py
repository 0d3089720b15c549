"""Forgetting what is out of the window, and the settings that say what that is."""

import asyncio
from datetime import timedelta

import pytest
from lineshaft_common.settings import SettingsError
from lineshaft_event_router.retention import forget_old
from lineshaft_event_router.settings import Settings

WINDOW = timedelta(days=3)


class Old:
    """A store with so many old entries, of which each call forgets at most ten."""

    def __init__(self, count: int, *, fails: int = 0) -> None:
        self.count = count
        self.fails = fails
        self.windows = set[timedelta]()
        self.done = asyncio.Event()

    async def forget(self, *, older_than: timedelta) -> int:
        self.windows.add(older_than)
        if self.fails:
            self.fails -= 1
            raise ConnectionRefusedError("database is away")
        forgotten = min(10, self.count)
        self.count -= forgotten
        if not forgotten:
            self.done.set()
        return forgotten


async def test_all_that_is_old_is_forgotten_a_part_at_a_time() -> None:
    store = Old(25)
    async with asyncio.timeout(30), forget_old(store, window=WINDOW):
        await store.done.wait()
    assert (store.count, store.windows) == (0, {WINDOW})


async def test_a_database_that_is_away_is_tried_again_at_the_next_interval() -> None:
    store = Old(5, fails=2)
    async with asyncio.timeout(30), forget_old(store, window=WINDOW, interval_seconds=0.01):
        await store.done.wait()
    assert store.count == 0


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv("LINESHAFT_AMQP_URL", "amqp://localhost/lineshaft")
    monkeypatch.setenv("LINESHAFT_POSTGRES_URL", "postgresql://localhost/event_router")
    return monkeypatch


def test_the_window_is_days_unless_it_is_set(environment: pytest.MonkeyPatch) -> None:
    assert Settings.from_environment().inbox_window == WINDOW
    environment.setenv("LINESHAFT_INBOX_WINDOW", "PT2H")
    assert Settings.from_environment().inbox_window == timedelta(hours=2)


@pytest.mark.parametrize(
    ("name", "value"),
    [("INBOX_WINDOW", "PT1S"), ("BATCH_MAX", "0"), ("BATCH_MAX", "many")],
)
def test_a_setting_out_of_range_stops_the_process_and_is_named(
    environment: pytest.MonkeyPatch, name: str, value: str
) -> None:
    environment.setenv(f"LINESHAFT_{name}", value)
    with pytest.raises(SettingsError, match=f"LINESHAFT_{name}"):
        Settings.from_environment()
