"""The edge's counters for /metrics, read from the traffic only when somebody looks."""

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.traffic import ClassTraffic, Traffic


class EdgeCollector(Collector):
    """Collects from one edge's traffic and store."""

    def __init__(self, traffic: Traffic, store: MemoryStore, *, region: str) -> None:
        self._traffic = traffic
        self._store = store
        self._region = region

    def collect(self) -> Iterator[Metric]:
        """Yield every metric family."""
        snapshot = self._traffic.snapshot()
        labels = ["region", "asset_class"]
        requests = CounterMetricFamily(
            "lineshaft_edge_requests", "Requests by what the cache did", labels=[*labels, "result"]
        )
        body = CounterMetricFamily(
            "lineshaft_edge_body_bytes", "Body bytes by direction", labels=[*labels, "direction"]
        )
        for traffic in snapshot.classes:
            self._add(requests, body, traffic)
        yield requests
        yield body
        errors = CounterMetricFamily(
            "lineshaft_edge_origin_errors", "Failed origin requests", labels=["region", "reason"]
        )
        for reason, count in snapshot.origin_errors.items():
            errors.add_metric([self._region, reason], count)
        yield errors
        asked = CounterMetricFamily(
            "lineshaft_edge_origin_requests", "Requests to the origin", labels=["region"]
        )
        asked.add_metric([self._region], snapshot.origin_requests)
        yield asked
        yield from self._store_metrics()

    def _add(
        self, requests: CounterMetricFamily, body: CounterMetricFamily, traffic: ClassTraffic
    ) -> None:
        labels = [self._region, traffic.asset_class]
        for result, count in traffic.results.items():
            requests.add_metric([*labels, result], count)
        body.add_metric([*labels, "to_client"], traffic.client_bytes)
        body.add_metric([*labels, "from_origin"], traffic.origin_bytes)
        body.add_metric([*labels, "saved"], traffic.saved_bytes)

    def _store_metrics(self) -> Iterator[Metric]:
        used = GaugeMetricFamily(
            "lineshaft_edge_store_bytes", "Bytes charged to stored responses", labels=["region"]
        )
        used.add_metric([self._region], self._store.used_bytes)
        yield used
        held = GaugeMetricFamily(
            "lineshaft_edge_store_responses", "Stored responses", labels=["region"]
        )
        held.add_metric([self._region], len(self._store))
        yield held
        evicted = CounterMetricFamily(
            "lineshaft_edge_evictions", "Responses given up for room", labels=["region"]
        )
        evicted.add_metric([self._region], self._store.evictions)
        yield evicted
