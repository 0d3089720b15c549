"""Run the monitor: start-up reads down, shutdown reads up."""

from lineshaft_common import http, lifecycle, logs, messaging, postgres, tracing
from lineshaft_common.outbox import OutboxRelay
from lineshaft_common.reporting import report
from lineshaft_contracts.topology import MONITOR_ASKED, MONITOR_PLANT, MONITOR_TELEMETRY

from lineshaft_monitor.assembly import assemble
from lineshaft_monitor.own_spans import OwnSpans
from lineshaft_monitor.routes import create_app
from lineshaft_monitor.settings import NAME, MonitorSettings
from lineshaft_monitor.store import PACKAGES, Store


async def main() -> None:
    """Watch until told to stop."""
    s = MonitorSettings.from_environment()
    logs.configure(NAME, instance=s.instance, level=s.log_level)
    me, url, most = s.instance, str(s.postgres_url), s.postgres_connections_max
    own, every = OwnSpans.wanted(s), s.metrics_interval_seconds
    async with (
        tracing.start(NAME, instance=me, sample_ratio=s.trace_sample_ratio, exporter=own),
        postgres.connect(url, *PACKAGES, name=NAME, connections_max=most) as pool,
        messaging.connect(str(s.amqp_url), name=NAME) as bus,
        OutboxRelay(pool, bus) as relay,
        assemble(Store.on(pool), bus, s, announce=relay.wake, own=own) as monitor,
        bus.subscribe_batch(MONITOR_TELEMETRY, monitor.intake.on_telemetry),
        bus.subscribe_batch(MONITOR_PLANT, monitor.intake.on_plant, raw=True),
        bus.serve(MONITOR_ASKED, *monitor.answers()),
        http.serve(create_app(monitor.health, monitor.spans), host=s.http_host, port=s.http_port),
        report(bus, monitor.health, service=NAME, instance=me, interval_seconds=every),
    ):
        await lifecycle.until_terminated()


if __name__ == "__main__":
    lifecycle.run(main)
