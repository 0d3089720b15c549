"""Start the edge of one region."""

from lineshaft_common import http, logs, messaging, tracing
from lineshaft_common.health import Health
from lineshaft_common.lifecycle import run, until_terminated
from lineshaft_common.messaging import on
from lineshaft_common.reporting import report
from lineshaft_contracts.cdn import PurgeAssets
from lineshaft_contracts.topology import edge_queue

from lineshaft_cdn_edge.assembly import assemble
from lineshaft_cdn_edge.commands import PurgeCommands
from lineshaft_cdn_edge.reporting import AssetReporter, report_assets
from lineshaft_cdn_edge.routes import create_app
from lineshaft_cdn_edge.settings import EdgeSettings

NAME = "cdn-edge"


async def main() -> None:
    """Serve assets and obey purges until terminated."""
    settings = EdgeSettings.from_environment()
    region, me, every = settings.region, settings.instance, settings.metrics_interval_seconds
    logs.configure(NAME, instance=me, level=settings.log_level)
    async with (
        tracing.start(NAME, instance=me, sample_ratio=settings.trace_sample_ratio),
        messaging.connect(str(settings.amqp_url), name=f"{NAME}-{region}") as bus,
        assemble(settings) as station,
    ):
        health = Health({"broker": bus.check})
        commands = PurgeCommands(station.edge.purger, bus, region=region)
        app = create_app(station, health)
        async with (
            bus.subscribe(edge_queue(region), on(PurgeAssets, commands.on_purge_assets)),
            http.serve(app, host=settings.http_host, port=settings.http_port),
            report(bus, health, service=NAME, instance=me, interval_seconds=every, region=region),
            report_assets(AssetReporter(station, bus, commands, settings)),
        ):
            await until_terminated()


if __name__ == "__main__":
    run(main)
