"""Numbers of this process: exposed for scrapers, and read as samples for the telemetry report."""

import asyncio
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import cast

from lineshaft_contracts.telemetry import Sample
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, Gauge, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics import exposition as openmetrics

from lineshaft_common import lifecycle

LAG = Gauge(
    "lineshaft_event_loop_lag_seconds",
    "How late the event loop ran a timer, worst of the last 10 s",
)
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""Upper bounds in seconds for latencies and run times."""


def exposition(accept: str) -> tuple[bytes, str]:
    """Write all metrics, as OpenMetrics when the scraper asks for it; (body, content type)."""
    if "application/openmetrics-text" in accept:
        written = cast("bytes", openmetrics.generate_latest(REGISTRY))
        return written, openmetrics.CONTENT_TYPE_LATEST
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def samples() -> tuple[Sample, ...]:
    """Read every metric; a histogram becomes _count, _sum and gauges of its p50, p95 and p99."""
    return tuple(
        sample
        for metric in REGISTRY.collect()
        if not metric.name.startswith("python_info")
        for sample in _samples(metric)
    )


def _samples(metric: Metric) -> Iterator[Sample]:
    buckets: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for sample in metric.samples:
        if sample.name.endswith("_created"):
            continue
        if sample.name.endswith("_bucket"):
            labels = {k: v for k, v in sample.labels.items() if k != "le"}
            bucket = (float(sample.labels["le"]), sample.value)
            buckets.setdefault(tuple(sorted(labels.items())), []).append(bucket)
            continue
        yield Sample(name=sample.name, labels=dict(sample.labels), value=sample.value)
    for labels, counts in buckets.items():
        for quantile in (0.5, 0.95, 0.99):
            value = estimate(counts, quantile)
            if value is not None:
                name = f"{metric.name}_p{round(quantile * 100)}"
                yield Sample(name=name, labels=dict(labels), value=value)


def estimate(buckets: Iterable[tuple[float, float]], quantile: float) -> float | None:
    """Estimate a quantile from cumulative (upper bound, count) pairs, linear inside a bucket."""
    ordered = sorted(buckets)
    total = ordered[-1][1] if ordered else 0
    if not total:
        return None
    rank = quantile * total
    below, low = 0.0, 0.0
    for bound, count in ordered:
        if count >= rank:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (rank - below) / max(count - below, 1e-9)
        below, low = count, bound
    return low


@asynccontextmanager
async def watch_event_loop(interval_seconds: float = 0.5) -> AsyncGenerator[None]:
    """Measure inside the block how late timers run: a blocked loop shows as a number."""

    async def measure() -> None:
        loop = asyncio.get_running_loop()
        recent: list[float] = []
        while True:
            due = loop.time() + interval_seconds
            await asyncio.sleep(interval_seconds)
            recent = [*recent[-19:], max(0.0, loop.time() - due)]
            LAG.set(max(recent))

    async with lifecycle.background(measure(), name="event-loop-lag"):
        yield
