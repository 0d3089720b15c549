"""Alerts: one per rule and labels, changed and announced in one commit."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.alerts import AlertEscalated, AlertRaised, AlertResolved
from lineshaft_contracts.envelope import PLATFORM_TENANT, Priority
from lineshaft_monitor.alert_keeper import AlertKeeper, Observation
from lineshaft_monitor.rules import Rule, load, parse
from lineshaft_monitor.samples.series import labels_of

from .memory_alert_store import MemoryAlertStore

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
RULES: list[dict[str, Any]] = [
    {
        "name": "equipment-down",
        "metric": "plant_equipment_down",
        "levels": {"warning": 1},
        "summary": "{equipment} is down",
    },
    {
        "name": "backlog",
        "metric": "depth",
        "levels": {"warning": 10, "error": 100},
        "for_seconds": 60,
        "stale": {"after_seconds": 120},
        "summary": "{value} wait in {queue}",
    },
]


def rules(*wanted: str) -> tuple[Rule, ...]:
    kept = [rule for rule in RULES if not wanted or rule["name"] in wanted]
    return parse({"rules": kept}, source="test")


class Keeping:
    """A keeper with a clock that each call moves by 30 seconds."""

    def __init__(self, store: MemoryAlertStore | None = None, *wanted: str) -> None:
        self.store = store or MemoryAlertStore()
        self.announced = 0
        self.keeper = AlertKeeper(
            self.store, rules(*wanted), gap_max_seconds=75, announce=self._announce
        )
        self.now = START

    def _announce(self) -> None:
        self.announced += 1

    async def show(self, name: str, value: float | None, **labels: str) -> None:
        self.now += timedelta(seconds=30)
        await self.keeper.observe(
            [Observation(name=name, labels=labels_of(labels), value=value, at=self.now)]
        )

    async def equipment(self, value: float | None, unit: str = "/acme/press") -> None:
        await self.show("plant_equipment_down", value, tenant="acme", equipment=unit)

    @property
    def events(self) -> Sequence[Any]:
        return [envelope.data for envelope in self.store.events]


async def test_an_alert_is_raised_and_resolved_with_events_in_order() -> None:
    keeping = Keeping()
    await keeping.equipment(1)
    await keeping.equipment(0)
    raised, resolved = keeping.events
    assert isinstance(raised, AlertRaised)
    assert isinstance(resolved, AlertResolved)
    assert (raised.summary, raised.sequence) == ("/acme/press is down", 1)
    assert (resolved.alert_id, resolved.sequence) == (raised.alert_id, 2)
    assert resolved.reason == "value 0 < 1 for 0 s"
    assert keeping.store.open == []
    assert keeping.store.memories == {}
    assert keeping.announced == 2


async def test_events_are_addressed_by_tenant_level_and_event() -> None:
    keeping = Keeping()
    await keeping.equipment(1)
    (envelope,) = keeping.store.events
    assert envelope.key == "acme.warning.raised"
    assert (envelope.tenant, envelope.priority) == ("acme", Priority.NORMAL)


async def test_a_repeated_value_raises_nothing_twice() -> None:
    keeping = Keeping()
    for _ in range(5):
        await keeping.equipment(1)
    assert len(keeping.events) == 1
    assert keeping.store.commits == 1


async def test_each_combination_of_labels_has_an_alert_of_its_own() -> None:
    keeping = Keeping()
    await keeping.equipment(1, "/acme/press")
    await keeping.equipment(1, "/acme/drill")
    await keeping.equipment(0, "/acme/press")
    assert [alert.labels["equipment"] for alert in keeping.store.open] == ["/acme/drill"]


async def test_a_change_of_level_escalates_the_alert_and_opens_none() -> None:
    keeping = Keeping()
    for value in (50, 50, 50, 500, 500, 500):
        await keeping.show("depth", value, queue="q")
    raised, escalated = keeping.events
    assert isinstance(escalated, AlertEscalated)
    assert escalated.alert_id == raised.alert_id
    assert (escalated.previous_level, escalated.level) == ("warning", "error")
    assert raised.started_at == START + timedelta(seconds=30)


async def test_a_restart_in_the_middle_of_for_loses_no_time() -> None:
    before = Keeping()
    await before.show("depth", 50, queue="q")
    await before.show("depth", 50, queue="q")
    after = Keeping(before.store)
    after.now = before.now + timedelta(hours=1)
    await after.keeper.start(after.now)
    await after.show("depth", 50, queue="q")
    assert after.events == []
    await after.show("depth", 50, queue="q")
    assert len(after.events) == 1


async def test_an_open_alert_survives_a_restart() -> None:
    before = Keeping()
    await before.equipment(1)
    after = Keeping(before.store)
    await after.keeper.start(after.now)
    after.now = before.now
    await after.equipment(1)
    assert len(after.events) == 1
    await after.equipment(0)
    assert [type(event) for event in after.events] == [AlertRaised, AlertResolved]


async def test_the_alerts_of_a_deleted_rule_are_resolved() -> None:
    before = Keeping()
    await before.equipment(1)
    after = Keeping(before.store, "backlog")
    await after.keeper.start(START + timedelta(hours=1))
    assert after.store.open == []
    assert after.events[-1].reason == "rule deleted"


async def test_nothing_is_remembered_that_could_not_be_stored() -> None:
    keeping = Keeping()
    keeping.store.fail_before = True
    with pytest.raises(ConnectionError):
        await keeping.equipment(1)
    keeping.store.fail_before = False
    await keeping.equipment(1)
    assert len(keeping.events) == 1
    assert len(keeping.store.open) == 1


async def test_a_commit_whose_outcome_is_unknown_is_looked_up() -> None:
    keeping = Keeping()
    keeping.store.fail_after = True
    with pytest.raises(ConnectionError):
        await keeping.equipment(1)
    keeping.store.fail_after = False
    await keeping.equipment(1)
    assert len(keeping.events) == 1
    assert len(keeping.store.open) == 1


async def test_a_series_that_is_not_collected_any_more_is_stale_not_resolved() -> None:
    keeping = Keeping()
    for value in (50, 50, 50):
        await keeping.show("depth", value, queue="q")
    keeping.now += timedelta(seconds=150)
    await keeping.keeper.check_stale(keeping.now)
    assert {alert.rule for alert in keeping.store.open} == {"backlog", "backlog-stale"}
    await keeping.show("depth", 50, queue="q")
    await keeping.keeper.check_stale(keeping.now)
    assert [alert.rule for alert in keeping.store.open] == ["backlog"]


async def test_alerts_about_something_that_is_gone_end_with_that_reason() -> None:
    keeping = Keeping()
    await keeping.equipment(1)
    await keeping.keeper.forget({"equipment": "/acme/press"}, "scrapped", keeping.now)
    assert keeping.events[-1].reason == "scrapped"
    assert keeping.store.open == []


async def test_a_tenant_counts_its_own_alerts_and_those_of_the_platform() -> None:
    keeping = Keeping()
    await keeping.equipment(1)
    for _ in range(3):
        await keeping.show("depth", 500, queue="q")
    assert keeping.keeper.firing("acme") == {"info": 0, "warning": 1, "error": 1, "critical": 0}
    assert keeping.keeper.firing("other")["warning"] == 0
    assert keeping.keeper.firing(PLATFORM_TENANT)["warning"] == 1


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["/a/x", "/a/y"]),
        st.sampled_from([0.0, 1.0, None]),
        st.sampled_from(["fine", "before", "after", "restart"]),
    ),
    max_size=40,
)


@given(STEPS)
async def test_whatever_fails_there_is_one_alert_and_every_change_is_announced_once(
    steps: list[tuple[str, float | None, str]],
) -> None:
    store = MemoryAlertStore()
    keeping = Keeping(store)
    down: dict[str, bool] = {}
    for unit, value, trouble in steps:
        if trouble == "restart":
            now = keeping.now
            keeping = Keeping(store)
            keeping.now = now
            await keeping.keeper.start(now)
        store.fail_before, store.fail_after = trouble == "before", trouble == "after"
        try:
            await keeping.equipment(value, unit)
        except ConnectionError:
            store.fail_before = store.fail_after = False
            await keeping.equipment(value, unit)
        store.fail_before = store.fail_after = False
        if value is not None:
            down[unit] = value == 1
        assert {a.labels["equipment"] for a in store.open} == {u for u, d in down.items() if d}
    keys = [(event.alert_id, event.sequence) for event in keeping.events]
    assert len(keys) == len(set(keys))
    for alert in store.alerts.values():
        own = [event.sequence for event in keeping.events if event.alert_id == alert.id]
        assert own == list(range(1, alert.sequence + 1))


async def test_jobs_that_no_worker_serves_raise_an_alert_until_one_does() -> None:
    keeping = Keeping()
    keeping.keeper = AlertKeeper(keeping.store, load(None), gap_max_seconds=75)
    for waiting in (1, 2, 1_000, 1_000, 0):
        await keeping.show("lineshaft_jobs_unserved", waiting, type="label.print")
    raised, escalated, resolved = keeping.events
    assert isinstance(raised, AlertRaised)
    assert raised.summary == (
        "2 jobs of type label.print wait, and no live worker serves that type"
    )
    assert isinstance(escalated, AlertEscalated)
    assert isinstance(resolved, AlertResolved)
