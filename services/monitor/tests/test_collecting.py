"""Collectors, the dictionary of series, and what follows from two reports."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts.cdn import (
    AssetClassMetrics,
    AssetMetricsReported,
    OriginMetrics,
    Seconds,
    StoreMetrics,
)
from lineshaft_contracts.topology import TOPOLOGY
from lineshaft_monitor import derived
from lineshaft_monitor.collectors.broker import Broker
from lineshaft_monitor.collectors.machine import Machine
from lineshaft_monitor.edge_book import EdgeBook
from lineshaft_monitor.recorder import Recorder
from lineshaft_monitor.samples.latest import Latest, Snapshot
from lineshaft_monitor.samples.series import Key, SampleRow, SeriesDictionary, SeriesEntry

NOW = datetime.now(UTC)


class MemorySampleStore:
    def __init__(self) -> None:
        self.entries: list[SeriesEntry] = []
        self.rows: list[SampleRow] = []
        self.unavailable = False

    async def add(self, entries: Sequence[SeriesEntry], rows: Sequence[SampleRow]) -> None:
        if self.unavailable:
            raise ConnectionError("the database is away")
        self.entries += entries
        self.rows += rows


def key(name: str, **labels: str) -> Key:
    return name, tuple(sorted(labels.items()))


def test_the_machine_is_read(tmp_path: Path) -> None:
    values = asyncio.run(Machine(tmp_path, cgroup=tmp_path).collect())
    assert 0 <= values["machine_cpu_ratio", ()] <= 1
    assert 0 < values["machine_memory_used_ratio", ()] < 1
    assert 0 < values["machine_disk_used_bytes", ()] < values["machine_disk_total_bytes", ()]


def test_a_containers_limits_stand_for_the_machine(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000000\n")
    (tmp_path / "memory.current").write_text("600000\n")
    (tmp_path / "memory.stat").write_text("anon 400000\ninactive_file 100000\n")
    values = asyncio.run(Machine(tmp_path, cgroup=tmp_path).collect())
    assert values["machine_memory_total_bytes", ()] == 1_000_000
    assert values["machine_memory_used_ratio", ()] == 0.5


async def test_every_queue_of_the_topology_is_read() -> None:
    values = await Broker(MemoryBus()).collect()
    read = {dict(labels)["queue"] for name, labels in values if name == "lineshaft_queue_messages"}
    assert read == {queue.name for queue in TOPOLOGY.queues}


async def test_a_broker_that_is_away_gives_no_values() -> None:
    bus = MemoryBus()
    bus.unavailable = True
    with pytest.raises(OSError, match="away"):
        await Broker(bus).collect()


def test_positions_are_only_ever_appended() -> None:
    dictionary = SeriesDictionary(per_metric_max=10)
    assert dictionary.row("s", NOW, {key("a"): 1.0, key("b"): 2.0}).values == [1, 2]
    assert dictionary.row("s", NOW, {key("c"): 3.0, key("a"): 4.0}).values == [4, None, 3]
    again = SeriesDictionary(per_metric_max=10)
    again.load(dictionary.unsaved)
    assert again.row("s", NOW, {key("c"): 5.0}).values == [None, None, 5]


def test_too_many_series_of_a_metric_are_refused() -> None:
    dictionary = SeriesDictionary(per_metric_max=2)
    values = {key("a", n=str(number)): float(number) for number in range(5)}
    assert dictionary.row("s", NOW, values).values == [0, 1]
    assert dictionary.used_ratio == 1
    assert dictionary.row("s", NOW, {key("other"): 7.0}).values == [None, None, 7]


def test_a_tenant_with_too_many_series_crowds_out_nobody() -> None:
    dictionary = SeriesDictionary(per_metric_max=2)
    greedy = {key("a", n=str(number), tenant="greedy"): 1.0 for number in range(5)}
    values = {**greedy, key("a", tenant="acme"): 2.0, key("a"): 3.0}
    assert dictionary.row("s", NOW, values).values == [1, 1, 2, 3]
    dictionary.forget(["s"])
    assert dictionary.used_ratio == 0


async def test_rows_wait_while_the_database_is_away() -> None:
    store, latest = MemorySampleStore(), Latest()
    recorder = Recorder(store, SeriesDictionary(per_metric_max=10), latest)
    recorder.take("s", NOW, {key("a"): 1.0})
    store.unavailable = True
    with pytest.raises(ConnectionError):
        await recorder.flush()
    store.unavailable = False
    recorder.take("s", NOW + timedelta(seconds=30), {key("a"): 2.0})
    await recorder.flush()
    await recorder.flush()
    assert [row.values for row in store.rows] == [[1], [2]]
    assert len(store.entries) == 1


def test_what_could_not_be_collected_is_unknown_and_leaves_a_gap() -> None:
    latest = Latest()
    recorder = Recorder(MemorySampleStore(), SeriesDictionary(per_metric_max=10), latest)
    recorder.take("s", NOW, {key("a"): 1.0})
    (unknown,) = recorder.missed("s", NOW + timedelta(seconds=30))
    assert (unknown.name, unknown.value) == ("a", None)
    assert latest.value("s", "a") is None


def played(*snapshots: Mapping[Key, float]) -> Latest:
    latest = Latest()
    for number, values in enumerate(snapshots):
        latest.take("s", Snapshot(at=NOW + timedelta(seconds=10 * number), values=values))
    return latest


def test_the_rate_of_a_counter_survives_its_restart() -> None:
    assert played({key("c"): 100.0}, {key("c"): 150.0}).rate("s", key("c")) == 5
    assert played({key("c"): 100.0}, {key("c"): 20.0}).rate("s", key("c")) == 2
    assert played({key("c"): 100.0}).rate("s", key("c")) is None


def test_ratios_are_of_the_last_interval() -> None:
    def requests(ok: float, failed: float) -> dict[Key, float]:
        return {
            key(derived.REQUESTS, status="200"): ok,
            key(derived.REQUESTS, status="503"): failed,
            key(derived.JOB_ATTEMPTS, type="t", outcome="succeeded"): ok,
            key(derived.JOB_ATTEMPTS, type="t", outcome="failed"): failed,
            key(derived.JOB_ATTEMPTS, type="t", outcome="cancelled"): 7 * ok,
        }

    latest = played(requests(100, 100), requests(190, 110))
    assert derived.error_ratio(latest, "s") == 0.1
    assert derived.request_rate(latest, "s") == 10
    assert derived.job_failure_ratio(latest, "s") == 0.1
    assert derived.error_ratio(played(requests(1, 1), requests(1, 1)), "s") is None


def edge_report(
    hits: int, misses: int, *, instance: str = "i", region: str = "eu-west"
) -> AssetMetricsReported:
    return AssetMetricsReported(
        region=region,
        instance=instance,
        version="1",
        started_at=NOW,
        interval_seconds=30,
        classes=(
            AssetClassMetrics(
                asset_class="script",
                results={"hit": hits, "miss": misses, "bypass": 5},
                client_bytes=100,
                origin_bytes=10,
                saved_bytes=50,
                first_byte_seconds=Seconds(p95=0.01 * hits),
                total_seconds=Seconds(),
            ),
        ),
        store=StoreMetrics(used_bytes=1, bytes_max=2, responses=3, evictions=0),
        origin=OriginMetrics(requests=misses, errors={"timeout": 2}, reachable=False),
    )


def test_an_edge_is_judged_by_its_last_interval() -> None:
    book = EdgeBook()
    book.heard(edge_report(90, 10), NOW)
    region = book.heard(edge_report(100, 50), NOW + timedelta(seconds=10))
    assert region is not None
    assert region.hit_ratio == 10 / 50
    assert region.requests_per_second == 5
    assert region.samples()["lineshaft_edge_origin_reachable", (("region", "eu-west"),)] == 0
    assert book.heard(edge_report(1, 1), NOW) is None


def test_an_edge_that_restarted_counts_from_zero() -> None:
    book = EdgeBook()
    book.heard(edge_report(90, 10), NOW)
    region = book.heard(edge_report(3, 1, instance="j"), NOW + timedelta(seconds=10))
    assert region is not None
    assert region.hit_ratio == 0.75


def test_assets_are_added_up_over_regions() -> None:
    book = EdgeBook()
    book.heard(edge_report(30, 10), NOW)
    book.heard(edge_report(60, 0, region="us-east"), NOW)
    (total,) = book.totals(None, None)
    assert (total.region, total.requests, total.hits, total.misses) == ("*", 110, 90, 10)
    assert total.hit_ratio == 0.9
    assert total.first_byte_seconds.p95 == 0.6
    assert [t.region for t in book.traffic(None, "script")] == ["eu-west", "us-east"]
    assert book.traffic("us-east", "image") == []
