"""The monitor's tables, on a real PostgreSQL."""

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from lineshaft_common import outbox, postgres
from lineshaft_common.outbox import OutboxRelay
from lineshaft_common.postgres import Pool
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.alerts import AlertState, ListAlerts
from lineshaft_contracts.monitoring import Aggregation, QueryMetrics
from lineshaft_monitor.alert_keeper import AlertKeeper, Observation
from lineshaft_monitor.rules import parse
from lineshaft_monitor.samples.series import Key, SampleRow, SeriesDictionary, SeriesEntry
from lineshaft_monitor.spans import Span
from lineshaft_monitor.store import PACKAGES, Store

pytestmark = pytest.mark.integration

NOW = datetime.now(UTC).replace(microsecond=0)
DAYS = {"samples": 14, "spans": 3}
RULES = parse(
    {
        "rules": [
            {
                "name": "equipment-down",
                "metric": "plant_equipment_down",
                "levels": {"warning": 1, "error": 5},
                "summary": "{equipment} is down",
            }
        ]
    },
    source="test",
)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    async with postgres.connect(postgres_url, *PACKAGES, name="test") as pool:
        yield pool


@pytest.fixture
async def store(pool: Pool) -> Store:
    store = Store.on(pool)
    await store.partitions.maintain(DAYS)
    return store


def down(value: float | None, unit: str = "/acme/press", tenant: str = "acme") -> Observation:
    labels = (("equipment", unit), ("tenant", tenant))
    return Observation(
        name="plant_equipment_down", labels=labels, value=value, at=datetime.now(UTC)
    )


def keeper_of(store: Store) -> AlertKeeper:
    return AlertKeeper(store.alerts, RULES, gap_max_seconds=75)


async def test_partitions_are_made_ahead_and_dropped_after_their_time(pool: Pool) -> None:
    partitions = Store.on(pool).partitions
    first = date(2026, 3, 2)
    assert await partitions.maintain(DAYS, first) == 0
    assert await partitions.maintain(DAYS, first) == 0
    assert await partitions.maintain(DAYS, first + timedelta(days=5)) == 3  # Spans only.
    names = await pool.fetch(
        "SELECT inhrelid::regclass::text AS name FROM pg_inherits "
        "JOIN pg_class ON pg_class.oid = inhrelid WHERE relkind = 'r' ORDER BY 1"
    )
    assert [row["name"] for row in names if row["name"].startswith("spans")] == [
        f"spans_202603{day:02}" for day in (4, 6, 7, 8, 9)
    ]


def key(name: str, **labels: str) -> Key:
    return name, tuple(sorted(labels.items()))


async def filled(store: Store) -> SeriesDictionary:
    """Two sources with a tick every 10 s; the fourth was not collected."""
    dictionary = SeriesDictionary(per_metric_max=100)
    rows: list[SampleRow] = []
    for number in range(12):
        at = NOW - timedelta(seconds=120 - 10 * number)
        for source in ("a", "b"):
            values = {
                key("depth", queue=source): float(number),
                key("sent_total", queue=source): float(number % 6 * 20),
            }
            empty = SampleRow(source=source, at=at, values=[])
            rows.append(empty if number == 3 else dictionary.row(source, at, values))
    await store.samples.add(dictionary.unsaved, rows)
    return dictionary


async def ask(
    store: Store, aggregation: Aggregation, name: str = "depth", step: float = 60
) -> list[Any]:
    query = QueryMetrics(
        name=name,
        labels={"queue": "a"},
        since=NOW - timedelta(seconds=120),
        step_seconds=step,
        aggregation=aggregation,
    )
    series = await store.samples.query(query, NOW, int(120 / step), tenant=None)
    assert series is not None
    assert [s.labels for s in series] == [{"queue": "a"}]
    return list(series[0].values)


async def test_samples_are_aggregated_on_the_grid(store: Store) -> None:
    await filled(store)
    assert await ask(store, Aggregation.AVG) == [(0 + 1 + 2 + 4 + 5) / 5, 8.5]
    assert await ask(store, Aggregation.MIN) == [0, 6]
    assert await ask(store, Aggregation.MAX) == [5, 11]
    assert await ask(store, Aggregation.SUM) == [12, 51]
    assert await ask(store, Aggregation.LAST) == [5, 11]


async def test_the_rate_of_a_counter_survives_its_restart(store: Store) -> None:
    await filled(store)
    first, second = await ask(store, Aggregation.RATE, "sent_total")
    assert first == pytest.approx(2.0)
    assert second == pytest.approx(100 / 60)  # It was restarted at the first sample.


async def test_what_was_not_collected_is_a_gap(store: Store) -> None:
    await filled(store)
    assert (await ask(store, Aggregation.AVG, step=10))[:5] == [0, 1, 2, None, 4]


async def test_the_dictionary_is_the_same_after_a_restart(store: Store, pool: Pool) -> None:
    dictionary = await filled(store)
    again = SeriesDictionary(per_metric_max=100)
    again.load(await Store.on(pool).samples.dictionary())
    values = {key("depth", queue="a"): 1.0}
    assert again.row("a", NOW, values) == dictionary.row("a", NOW, values)
    assert again.unsaved == []
    found = {info.name: info for info in await store.samples.metrics("", tenant="acme")}
    assert found["depth"].series == 2
    assert found["depth"].label_names == ("queue",)
    unknown = QueryMetrics(name="never", since=NOW - timedelta(seconds=60))
    assert await store.samples.query(unknown, NOW, 1, tenant=None) is None


async def test_series_of_another_tenant_are_not_there(store: Store) -> None:
    dictionary = SeriesDictionary(per_metric_max=100)
    values = {
        key("units", tenant="acme"): 1.0,
        key("units", tenant="rival", line="secret"): 2.0,
        key("units"): 3.0,
        key("rivals", tenant="rival"): 4.0,
    }
    row = dictionary.row("s", NOW - timedelta(seconds=5), values)
    await store.samples.add(dictionary.unsaved, [row])

    async def seen(tenant: str | None, name: str) -> list[float | None] | None:
        query = QueryMetrics(name=name, since=NOW - timedelta(seconds=60))
        series = await store.samples.query(query, NOW, 1, tenant=tenant)
        return None if series is None else sorted(s.values[0] or 0 for s in series)

    assert await seen("acme", "units") == [1, 3]
    assert await seen("rival", "units") == [2, 3]
    assert await seen(None, "units") == [1, 2, 3]
    assert await seen("acme", "rivals") is None
    (units,) = await store.samples.metrics("", tenant="acme")
    assert (units.name, units.series, units.label_names) == ("units", 2, ("tenant",))
    assert len(await store.samples.metrics("", tenant=None)) == 2


async def test_a_source_that_lasts_keeps_its_dictionary(store: Store, pool: Pool) -> None:
    await filled(store)
    assert await store.samples.forget_sources(days=14) == []
    await pool.execute("UPDATE sources SET last_seen_on = current_date - 20 WHERE name = 'a'")
    assert await store.samples.forget_sources(days=14) == ["a"]
    entry = SeriesEntry(source="a", position=0, name="depth", labels=())
    await store.samples.add([entry], [SampleRow(source="a", at=NOW, values=[1.0])])


async def test_an_alert_and_its_event_are_stored_together(store: Store, pool: Pool) -> None:
    keeper, bus = keeper_of(store), MemoryBus()
    await keeper.observe([down(1)])
    await keeper.observe([down(7)])
    await keeper.observe([down(0)])
    assert await pool.fetchval("SELECT coalesce(sum(messages), 0) FROM outbox_batches") == 3
    async with OutboxRelay(pool, bus):
        pass  # It sends what waits before it ends.
    keys = [message.routing_key for message in bus.published]
    assert keys == ["acme.warning.raised", "acme.error.escalated", "acme.error.resolved"]
    (view,) = await store.alerts.page(ListAlerts(), "acme", before=None)
    assert (view.state, view.reason) == (AlertState.RESOLVED, "value 0 < 5 for 0 s")
    found = await store.alerts.find(view.id, "acme")
    assert found is not None
    assert [change.event for change in found[1]] == ["raised", "escalated", "resolved"]
    assert await pool.fetchval("SELECT count(*) FROM evaluations") == 0


async def test_a_commit_that_breaks_in_the_middle_leaves_nothing(
    store: Store, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper = keeper_of(store)

    async def broken(*_: object) -> None:
        raise ConnectionError("killed between the alert and its event")

    with monkeypatch.context() as patched:
        patched.setattr(outbox, "add", broken)
        with pytest.raises(ConnectionError):
            await keeper.observe([down(1)])
    for table in ("alerts", "alert_history", "evaluations", "outbox_batches"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608
    await keeper_of(store).observe([down(1)])
    assert await pool.fetchval("SELECT coalesce(sum(messages), 0) FROM outbox_batches") == 1


async def test_a_second_writer_never_opens_a_second_alert(store: Store, pool: Pool) -> None:
    one, other = keeper_of(store), keeper_of(store)
    await other.observe([down(None)])  # It has loaded, and sees no alert.
    await one.observe([down(1)])
    with pytest.raises(Exception, match="alerts_open"):
        await other.observe([down(1)])
    await other.observe([down(1)])
    assert await pool.fetchval("SELECT count(*) FROM alerts") == 1
    assert await pool.fetchval("SELECT coalesce(sum(messages), 0) FROM outbox_batches") == 1


async def test_pages_go_through_all_alerts_that_a_tenant_may_see(store: Store) -> None:
    keeper = keeper_of(store)
    await keeper.observe([down(1, f"/acme/{number}") for number in range(5)])
    await keeper.observe([down(1, "/other/1", "other")])
    seen: list[str] = []
    before = None
    while page := await store.alerts.page(ListAlerts(limit=2), "acme", before=before):
        seen += [alert.labels["equipment"] for alert in page[:2]]
        before = page[:2][-1].id
    assert sorted(seen) == [f"/acme/{number}" for number in range(5)]
    assert len(await store.alerts.page(ListAlerts(), "_platform", before=None)) == 6
    firing = ListAlerts(state=AlertState.RESOLVED)
    assert await store.alerts.page(firing, "acme", before=None) == []


async def test_the_spans_of_a_trace_come_in_start_order_and_once(store: Store) -> None:
    def span(number: int, parent: int | None = None) -> Span:
        return Span(
            trace_id=b"t" * 16,
            span_id=number.to_bytes(8, "big"),
            parent_id=None if parent is None else parent.to_bytes(8, "big"),
            service="press",
            name=f"span {number}",
            kind="internal",
            started_at=NOW + timedelta(milliseconds=number),
            seconds=0.5,
            status="unset",
            attributes={"n": str(number)},
        )

    await store.spans.add([span(2, 1), span(1), span(3, 1)])
    await store.spans.add([span(2, 1)])
    found = await store.spans.of_trace(b"t" * 16)
    assert [view.name for view in found] == ["span 1", "span 2", "span 3"]
    assert found[1].parent_id == found[0].span_id
    assert found[1].attributes == {"n": "2"}


async def test_the_database_tells_about_itself(store: Store) -> None:
    values = await store.database.collect()
    assert 0 < values["postgres_connections_used_ratio", ()] < 1
    assert values["postgres_database_size_bytes", ()] > 0
    assert values["postgres_longest_transaction_seconds", ()] >= 0
