"""Reading this process's own metrics as samples."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_common import metrics
from prometheus_client import Counter, Histogram

HISTOGRAM = Histogram("test_seconds", "For this test", ["kind"], buckets=(1, 2, 4))
COUNTER = Counter("test_things_total", "For this test", ["kind"])


def values() -> dict[tuple[str, str], float]:
    return {(s.name, s.labels.get("kind", "")): s.value for s in metrics.samples()}


def test_a_counter_is_one_sample_and_a_histogram_is_five() -> None:
    COUNTER.labels("a").inc(3)
    for seconds in (0.5, 1.5, 1.5, 3):
        HISTOGRAM.labels("a").observe(seconds)
    found = values()
    assert found["test_things_total", "a"] == 3
    assert found["test_seconds_count", "a"] == 4
    assert found["test_seconds_sum", "a"] == 6.5
    assert 1 <= found["test_seconds_p50", "a"] <= 2
    assert 2 <= found["test_seconds_p99", "a"] <= 4
    assert not any(name.endswith(("_bucket", "_created")) for name, _ in found)


def test_nothing_observed_has_no_quantile() -> None:
    HISTOGRAM.labels("empty")
    assert ("test_seconds_p50", "empty") not in values()


@given(st.lists(st.floats(0, 100), min_size=1), st.floats(0.01, 1))
def test_a_quantile_lies_in_the_bucket_that_holds_it(seconds: list[float], share: float) -> None:
    bounds = [0.5, 1, 5, 25, 200, float("inf")]
    buckets = [(bound, sum(s <= bound for s in seconds)) for bound in bounds]
    found = metrics.estimate(buckets, share)
    exact = sorted(seconds)[max(0, -(-len(seconds) * share // 1).__int__() - 1)]
    upper = next(bound for bound in bounds if exact <= bound)
    assert found is not None
    assert found <= upper
    lower = max([0.0, *(bound for bound in bounds if bound < exact)])
    assert found >= lower or found == pytest.approx(lower)


async def test_a_blocked_event_loop_is_seen() -> None:
    async with metrics.watch_event_loop(interval_seconds=0.01):
        await asyncio.sleep(0.02)
        time.sleep(0.2)  # noqa: ASYNC251 - blocking the loop is what is tested.
        await asyncio.sleep(0.05)
    found = {s.name: s.value for s in metrics.samples()}
    assert found["lineshaft_event_loop_lag_seconds"] > 0.1
