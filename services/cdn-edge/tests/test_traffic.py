"""What is counted."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_cdn_edge.messages import Result
from lineshaft_cdn_edge.traffic import Durations, Served, Traffic


def served(asset_class: str, result: Result, sent: int, seconds: float = 0.01) -> Served:
    return Served(
        asset_class=asset_class,
        result=result,
        client_bytes=sent,
        saved_bytes=3,
        first_byte_seconds=seconds,
        total_seconds=seconds * 2,
    )


def test_counters_are_kept_by_class_and_result() -> None:
    traffic = Traffic()
    traffic.served(served("script", Result.MISS, 10))
    traffic.served(served("script", Result.HIT, 10))
    traffic.served(served("image", Result.HIT, 7))
    traffic.received("script", 10)
    by_class = {item.asset_class: item for item in traffic.snapshot().classes}
    assert by_class["script"].results == {"miss": 1, "hit": 1}
    assert by_class["script"].client_bytes == 20
    assert by_class["script"].origin_bytes == 10
    assert by_class["script"].saved_bytes == 6
    assert by_class["image"].results == {"hit": 1}


def test_quantiles_are_of_the_interval_and_counters_of_all_time() -> None:
    traffic = Traffic()
    traffic.served(served("script", Result.HIT, 10))
    (before,) = traffic.snapshot(begin_interval=True).classes
    (after,) = traffic.snapshot().classes
    assert before.first_byte_seconds["p50"] == pytest.approx(0.01, rel=0.02)
    assert before.total_seconds["p99"] == pytest.approx(0.02, rel=0.02)
    assert after.first_byte_seconds["p50"] is None
    assert after.results == before.results


def test_the_origin_is_there_until_it_is_not() -> None:
    traffic = Traffic()
    assert traffic.snapshot().origin_is_reachable
    traffic.asked_origin()
    traffic.origin_failed("timeout")
    assert not traffic.snapshot().origin_is_reachable
    traffic.origin_answered()
    snapshot = traffic.snapshot()
    assert snapshot.origin_is_reachable
    assert (snapshot.origin_requests, snapshot.origin_errors) == (1, {"timeout": 1})


@given(st.lists(st.floats(min_value=1e-5, max_value=1e4), min_size=1, max_size=300))
def test_a_quantile_is_right_within_two_percent(values: list[float]) -> None:
    durations = Durations()
    for value in values:
        durations.add(value)
    for share in (0.5, 0.95, 0.99, 1.0):
        exact = sorted(values)[max(0, -(-int(share * 1e6) * len(values) // 10**6) - 1)]
        assert durations.quantile(share) == pytest.approx(exact, rel=0.0201)


def test_many_durations_take_little_memory() -> None:
    durations = Durations()
    generator = random.Random(3)
    for _ in range(50_000):
        durations.add(generator.lognormvariate(-5, 2))
    assert len(durations._buckets) < 700
