"""One edge with its origin, store and counters, put together from the settings."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from lineshaft_cdn_edge.clock import SystemClock
from lineshaft_cdn_edge.delivery import Delivery
from lineshaft_cdn_edge.edge import Edge, Limits
from lineshaft_cdn_edge.memory import MemoryStore
from lineshaft_cdn_edge.metering import MeteredOrigin
from lineshaft_cdn_edge.policy import load_policy
from lineshaft_cdn_edge.settings import EdgeSettings
from lineshaft_cdn_edge.traffic import Traffic
from lineshaft_cdn_edge.upstream import HttpOrigin, UpstreamLimits


@dataclass(frozen=True, kw_only=True)
class Station:
    """What the HTTP side, the commands and the reports of one edge work on."""

    region: str
    edge: Edge
    store: MemoryStore
    traffic: Traffic
    delivery: Delivery


def _upstream(settings: EdgeSettings) -> HttpOrigin:
    return HttpOrigin(
        str(settings.origin_url),
        UpstreamLimits(
            connections_max=settings.origin_connections_max,
            passing_per_client_max=settings.origin_passing_per_client_max,
            acquire_timeout_seconds=settings.origin_acquire_timeout_seconds,
            connect_timeout_seconds=settings.origin_connect_timeout_seconds,
            head_timeout_seconds=settings.origin_head_timeout_seconds,
            idle_timeout_seconds=settings.origin_idle_timeout_seconds,
        ),
    )


@asynccontextmanager
async def assemble(settings: EdgeSettings) -> AsyncGenerator[Station]:
    """Keep an edge ready inside the block."""
    policy, traffic = load_policy(settings.policy_file), Traffic()
    store = MemoryStore(
        bytes_max=settings.memory_bytes_max,
        object_bytes_max=settings.object_bytes_max,
        variants_max=settings.variants_max,
    )
    async with (
        _upstream(settings) as origin,
        Edge(
            region=settings.region,
            origin=MeteredOrigin(origin, traffic, policy),
            policy=policy,
            store=store,
            clock=SystemClock(),
            limits=Limits(
                waiters_max=settings.waiters_max,
                wait_timeout_seconds=settings.wait_timeout_seconds,
            ),
            keyed_host=settings.forward_host,
        ) as edge,
    ):
        delivery = Delivery(
            edge,
            traffic,
            upload_bytes_max=settings.upload_bytes_max,
            upload_idle_seconds=settings.upload_idle_timeout_seconds,
            send_timeout_seconds=settings.send_timeout_seconds,
        )
        yield Station(
            region=settings.region, edge=edge, store=store, traffic=traffic, delivery=delivery
        )
