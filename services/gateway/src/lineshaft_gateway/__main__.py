"""Wiring of the gateway."""

from lineshaft_common import http, lifecycle, logs, messaging, postgres, reporting, tracing
from lineshaft_common.health import Health

from lineshaft_gateway.admin_key import ensure_admin_key
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.routes import create_app
from lineshaft_gateway.settings import GatewaySettings
from lineshaft_gateway.store import PACKAGE, PostgresKeyStore, PostgresPositionStore

NAME = "gateway"


async def main() -> None:
    """Serve until the process is asked to stop."""
    s = GatewaySettings.from_environment()
    logs.configure(NAME, instance=s.instance, level=s.log_level)
    url, most, every = str(s.postgres_url), s.postgres_connections_max, s.metrics_interval_seconds
    async with (
        tracing.start(NAME, instance=s.instance, sample_ratio=s.trace_sample_ratio),
        postgres.connect(url, PACKAGE, name=NAME, connections_max=most) as pool,
        messaging.connect(str(s.amqp_url), name=NAME) as bus,
        LiveLog(bus, PostgresPositionStore(pool), s.ring()) as live,
    ):
        keys = PostgresKeyStore(pool)
        await ensure_admin_key(keys, s.admin_key_file, s.default_tenant, s.http_host)
        health = Health({"broker": bus.check, "database": lambda: postgres.check(pool)})
        app = create_app(s, bus=bus, live=live, keys=keys, health=health)
        reporter = reporting.report(
            bus, health, service=NAME, instance=s.instance, interval_seconds=every
        )
        async with http.serve(app, host=s.http_host, port=s.http_port), reporter:
            await lifecycle.until_terminated()


if __name__ == "__main__":
    lifecycle.run(main)
