"""What the edge regions report of their traffic, and what follows from two reports."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from lineshaft_contracts.cdn import AssetClassMetrics, AssetMetricsReported, Seconds
from lineshaft_contracts.edges import AssetTraffic
from lineshaft_contracts.monitoring import Latency

from lineshaft_monitor.samples.series import Key, labels_of

SERVED_FROM_MEMORY = ("hit", "stale", "revalidated")
REGIONS_MAX = 100


@dataclass(frozen=True, kw_only=True)
class RegionBook:
    """The last report of a region, and the one before it."""

    report: AssetMetricsReported
    at: datetime
    before: AssetMetricsReported | None = None
    before_at: datetime | None = None

    @property
    def source(self) -> str:
        """Its name as a source of samples."""
        return f"edge/{self.report.region}"

    @property
    def results(self) -> dict[str, int]:
        """Requests of the last interval by result; since its start after a restart."""
        now = _results(self.report)
        before = _results(self.before) if self.before else {}
        return {result: count - before.get(result, 0) for result, count in now.items()}

    @property
    def hit_ratio(self) -> float | None:
        """Of the last interval; of all time when nothing was asked for in it."""
        recent = ratio(self.results)
        return ratio(_results(self.report)) if recent is None else recent

    @property
    def requests_per_second(self) -> float | None:
        """Over the last interval; None until there are two reports."""
        if self.before_at is None:
            return None
        return sum(self.results.values()) / ((self.at - self.before_at) / timedelta(seconds=1))

    def samples(self) -> dict[Key, float]:
        """Give the report as samples."""
        report = self.report
        region = {"region": report.region}
        samples: dict[Key, float] = {}

        def add(name: str, value: float | None, **labels: str) -> None:
            if value is not None:
                samples[f"lineshaft_edge_{name}", labels_of({**region, **labels})] = value

        add("origin_reachable", float(report.origin.reachable))
        add("origin_requests_total", report.origin.requests)
        add("origin_errors_total", sum(report.origin.errors.values()))
        add("cache_used_bytes", report.store.used_bytes)
        add("cache_responses", report.store.responses)
        add("cache_evictions_total", report.store.evictions)
        add("hit_ratio", self.hit_ratio)
        for found in report.classes:
            name = found.asset_class
            for result, count in found.results.items():
                add("requests_total", count, asset_class=name, result=result)
            add("client_bytes_total", found.client_bytes, asset_class=name)
            add("origin_bytes_total", found.origin_bytes, asset_class=name)
            add("saved_bytes_total", found.saved_bytes, asset_class=name)
            add("first_byte_seconds_p95", found.first_byte_seconds.p95, asset_class=name)
            add("total_seconds_p95", found.total_seconds.p95, asset_class=name)
        return samples


class EdgeBook:
    """The books of all regions."""

    def __init__(self) -> None:
        self._regions: dict[str, RegionBook] = {}

    def heard(self, report: AssetMetricsReported, at: datetime) -> RegionBook | None:
        """Take a report; None when it is older than what is known, or of one region too many."""
        known = self._regions.get(report.region)
        if (known is None and len(self._regions) >= REGIONS_MAX) or (known and at <= known.at):
            return None
        same = known is not None and known.report.instance == report.instance
        book = RegionBook(
            report=report,
            at=at,
            before=known.report if known and same else None,
            before_at=known.at if known and same else None,
        )
        self._regions[report.region] = book
        return book

    def get(self, region: str) -> RegionBook | None:
        """Return the book of one region; None when it was never heard of."""
        return self._regions.get(region)

    def __iter__(self) -> Iterator[RegionBook]:
        return iter(sorted(self._regions.values(), key=lambda book: book.report.region))

    def traffic(self, region: str | None, asset_class: str | None) -> list[AssetTraffic]:
        """List what was asked for by region and class."""
        return [
            traffic(book.report.region, [found])
            for book in self
            if region in {None, book.report.region}
            for found in book.report.classes
            if asset_class in {None, found.asset_class}
        ]

    def totals(self, region: str | None, asset_class: str | None) -> list[AssetTraffic]:
        """List what was asked for by class, over the regions."""
        by_class: dict[str, list[AssetClassMetrics]] = {}
        for book in self:
            for found in book.report.classes if region in {None, book.report.region} else ():
                if asset_class in {None, found.asset_class}:
                    by_class.setdefault(found.asset_class, []).append(found)
        return [traffic("*", classes) for _, classes in sorted(by_class.items())]


def traffic(region: str, classes: list[AssetClassMetrics]) -> AssetTraffic:
    """Add up one class of some regions."""
    results: dict[str, int] = {}
    for found in classes:
        for result, count in found.results.items():
            results[result] = results.get(result, 0) + count
    return AssetTraffic(
        region=region,
        asset_class=classes[0].asset_class,
        requests=sum(results.values()),
        hits=results.get("hit", 0),
        stale=results.get("stale", 0),
        revalidated=results.get("revalidated", 0),
        misses=results.get("miss", 0),
        bypassed=results.get("bypass", 0),
        errors=results.get("error", 0),
        hit_ratio=ratio(results),
        client_bytes=sum(found.client_bytes for found in classes),
        origin_bytes=sum(found.origin_bytes for found in classes),
        saved_bytes=sum(found.saved_bytes for found in classes),
        first_byte_seconds=_worst(found.first_byte_seconds for found in classes),
        total_seconds=_worst(found.total_seconds for found in classes),
    )


def ratio(results: dict[str, int]) -> float | None:
    """Return the share served from memory among all but bypassed requests."""
    requests = sum(results.values()) - results.get("bypass", 0)
    return sum(results.get(r, 0) for r in SERVED_FROM_MEMORY) / requests if requests else None


def _results(report: AssetMetricsReported) -> dict[str, int]:
    results: dict[str, int] = {}
    for found in report.classes:
        for result, count in found.results.items():
            results[result] = results.get(result, 0) + count
    return results


def _worst(durations: Iterable[Seconds]) -> Latency:
    listed = list(durations)

    def worst(values: Iterable[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    return Latency(
        p50=worst(d.p50 for d in listed),
        p95=worst(d.p95 for d in listed),
        p99=worst(d.p99 for d in listed),
    )
