"""The gateway's HTTP application: the route table of all modules behind one guard."""

from collections.abc import Sequence
from importlib.metadata import version

from aiohttp import web
from lineshaft_common import http
from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import Bus
from lineshaft_common.objects import Objects

from lineshaft_gateway.catalogue import Catalogue
from lineshaft_gateway.event_intake import EventDesk
from lineshaft_gateway.job_batch import BatchDesk
from lineshaft_gateway.job_checks import JobChecks
from lineshaft_gateway.job_submission import JobDesk
from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import KeyStore
from lineshaft_gateway.limits import TOO_MANY_DOWNLOADS, RateLimiter, ReplayTurns, StreamLimits
from lineshaft_gateway.live import LiveLog
from lineshaft_gateway.operations import Operation
from lineshaft_gateway.plant_snapshots import PlantDesk
from lineshaft_gateway.purge import Purger
from lineshaft_gateway.routes.artifacts import ArtifactRoutes
from lineshaft_gateway.routes.contracts import ContractRoutes
from lineshaft_gateway.routes.dead_letters import DeadLetterRoutes
from lineshaft_gateway.routes.events import EventRoutes
from lineshaft_gateway.routes.guard import Guard, complete
from lineshaft_gateway.routes.job_batch import BatchRoutes
from lineshaft_gateway.routes.job_limits import LimitRoutes
from lineshaft_gateway.routes.job_schedules import ScheduleRoutes
from lineshaft_gateway.routes.job_steering import SteeringRoutes
from lineshaft_gateway.routes.jobs import JobRoutes
from lineshaft_gateway.routes.keys import KeyRoutes
from lineshaft_gateway.routes.pages import PageRoutes
from lineshaft_gateway.routes.plant import PlantRoutes
from lineshaft_gateway.routes.stream import StreamRoutes
from lineshaft_gateway.routes.streaming import Streaming
from lineshaft_gateway.routes.subscription_reports import SubscriptionReportRoutes
from lineshaft_gateway.routes.subscriptions import SubscriptionRoutes
from lineshaft_gateway.routes.system import SystemRoutes
from lineshaft_gateway.routes.websocket import WebSocketRoutes
from lineshaft_gateway.settings import GatewaySettings
from lineshaft_gateway.system_status import SystemDesk

FAILED_LOGINS_PER_SECOND = 5.0
FAILED_LOGINS_BURST = 50


def create_app(
    settings: GatewaySettings,
    *,
    bus: Bus,
    live: LiveLog,
    keys: KeyStore,
    health: Health,
) -> web.Application:
    """Make the application with every route."""
    app = http.create_app(health, body_bytes_max=settings.body_bytes_max)
    keyring = Keyring(keys)
    streaming = _streaming(settings, live, bus, keyring)
    pages = PageRoutes(version("lineshaft-gateway"))
    operations = (
        *_jobs(bus),
        *_artifacts(settings, bus).operations(),
        *EventRoutes(EventDesk(bus), body_bytes_max=settings.body_bytes_max).operations(),
        *SubscriptionRoutes(bus).operations(),
        *SubscriptionReportRoutes(bus).operations(),
        *StreamRoutes(streaming).operations(),
        *WebSocketRoutes(streaming, origins=settings.websocket_origins).operations(),
        *ContractRoutes().operations(),
        *PlantRoutes(PlantDesk(bus, live.position)).operations(),
        *SystemRoutes(SystemDesk(bus, health), Purger(bus, settings.cdn_regions)).operations(),
        *DeadLetterRoutes(bus).operations(),
        *KeyRoutes(keys, keyring).operations(),
        *pages.operations(),
    )
    pages.describe(operations)
    pages.add_to(app)
    guard = Guard(
        keyring,
        requests=RateLimiter(
            per_second=settings.requests_per_second, burst=settings.requests_burst
        ),
        failed_logins=RateLimiter(per_second=FAILED_LOGINS_PER_SECOND, burst=FAILED_LOGINS_BURST),
        body_bytes_max=settings.body_bytes_max,
    )
    _add(app, guard, operations)
    app.on_response_prepare.append(complete)

    async def end_streams(_: web.Application) -> None:
        live.close()

    app.on_shutdown.append(end_streams)
    return app


def _jobs(bus: Bus) -> tuple[Operation, ...]:
    catalogue = Catalogue(bus)
    checks = JobChecks(catalogue)
    return (
        *JobRoutes(bus, catalogue, JobDesk(bus, checks)).operations(),
        *BatchRoutes(BatchDesk(bus, checks)).operations(),
        *SteeringRoutes(bus).operations(),
        *LimitRoutes(bus).operations(),
        *ScheduleRoutes(bus, checks).operations(),
    )


def _artifacts(settings: GatewaySettings, bus: Bus) -> ArtifactRoutes:
    downloads = StreamLimits(
        total_max=settings.downloads_max,
        per_tenant_max=settings.downloads_per_tenant_max,
        problem=TOO_MANY_DOWNLOADS,
    )
    return ArtifactRoutes(bus, Objects(settings.object_store_url), downloads)


def _streaming(settings: GatewaySettings, live: LiveLog, bus: Bus, keyring: Keyring) -> Streaming:
    return Streaming(
        live,
        bus,
        keyring,
        streams=StreamLimits(
            total_max=settings.streams_max, per_tenant_max=settings.streams_per_tenant_max
        ),
        replays=ReplayTurns(
            total_max=settings.replays_max, per_tenant_max=settings.replays_per_tenant_max
        ),
        heartbeat_seconds=settings.heartbeat_seconds,
    )


def _add(app: web.Application, guard: Guard, operations: Sequence[Operation]) -> None:
    for operation in operations:
        handler = guard.handler(operation)
        if operation.method == "GET":
            has_head = not operation.id.startswith("streamEvents")
            app.router.add_get(operation.path, handler, allow_head=has_head)
        else:
            app.router.add_route(operation.method, operation.path, handler)
