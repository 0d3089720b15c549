"""What the gateway can say about the system: the monitor's word, and its own when that is away."""

from datetime import UTC, datetime, timedelta
from typing import Any

from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import Bus, NoReplyError, PublishError
from lineshaft_contracts.envelope import PLATFORM_TENANT, Asking, Moment
from lineshaft_contracts.monitoring import (
    ComponentHealth,
    GetHealth,
    HealthFound,
    HealthStatus,
    ServiceHealth,
)
from lineshaft_contracts.problems import Problem, ProblemError
from lineshaft_contracts.telemetry import GetTrace, TraceFound
from pydantic import BaseModel

from lineshaft_gateway.catalogue import SOURCE
from lineshaft_gateway.coalescing import Coalescer

READ_DEADLINE_SECONDS = 1.0
EARLIEST = datetime.min.replace(tzinfo=UTC)


class HealthCheck(BaseModel):
    """One check of `application/health+json`."""

    status: HealthStatus
    output: str = ""
    """What is wrong; empty when nothing is."""


class SystemHealth(BaseModel):
    """The system's health as the gateway knows it, shaped as `application/health+json`."""

    status: HealthStatus
    """Of the whole system; `warn` while the monitor, which knows, does not answer."""
    checks: dict[str, tuple[HealthCheck, ...]]
    """`gateway:<dependency>` is this gateway's own view; `monitor` is whether it answers."""
    at: Moment | None
    """Of what follows; None when nothing was heard yet."""
    stale: bool
    """Whether what follows is the last known instead of the present."""
    services: tuple[ServiceHealth, ...] = ()
    rabbitmq: ComponentHealth | None = None
    postgres: ComponentHealth | None = None


class SystemDesk:
    """Asks the monitor; identical questions that are under way share one answer."""

    def __init__(self, bus: Bus, health: Health) -> None:
        self._bus = bus
        self._health = health
        self._coalescer = Coalescer()
        self._known: HealthFound | None = None

    async def read(self, question: Asking[Any], *, tenant: str) -> Any:
        """Ask; raises NoReplyError when the monitor is away."""
        return await self._coalescer.get(
            (tenant, question.type, question.model_dump_json()),
            lambda: self._bus.ask(
                question, tenant=tenant, source=SOURCE, deadline_seconds=READ_DEADLINE_SECONDS
            ),
        )

    async def health(self, *, tenant: str) -> tuple[SystemHealth, bool]:
        """Return the system's health, and whether this gateway itself can work."""
        own = await self._health.examine()
        works = all(outcome == "pass" for outcome in own.values())
        checks = {f"gateway:{name}": (_check(outcome),) for name, outcome in own.items()}
        try:
            found: HealthFound | None = await self.read(GetHealth(), tenant=tenant)
        except (NoReplyError, PublishError):
            found = None
        checks["monitor"] = (_check("pass" if found else "no answer within 1 s"),)
        self._known = found or self._known
        return _joined(found, self._known, checks, works=works), works

    async def trace(self, trace_id: str, *, tenant: str) -> TraceFound:
        """Read the tenant's part of a trace; with no span of its own the trace is not there.

        Anybody can send on a trace id: spans of others are left out, and hide nothing.
        """
        found: TraceFound = await self.read(GetTrace(trace_id=trace_id), tenant=tenant)
        owners = [span.attributes.get("lineshaft.tenant") for span in found.spans]
        if tenant not in owners:
            raise ProblemError(TRACE_NOT_FOUND)
        shown = (None, "", tenant, PLATFORM_TENANT)
        spans = zip(found.spans, owners, strict=True)
        return found.model_copy(
            update={"spans": tuple(span for span, owner in spans if owner in shown)}
        )


def _check(outcome: str) -> HealthCheck:
    if outcome == "pass":
        return HealthCheck(status=HealthStatus.PASS)
    return HealthCheck(status=HealthStatus.FAIL, output=outcome)


def _joined(
    found: HealthFound | None,
    known: HealthFound | None,
    checks: dict[str, tuple[HealthCheck, ...]],
    *,
    works: bool,
) -> SystemHealth:
    heard = found.status if found else HealthStatus.WARN
    return SystemHealth(
        status=heard if works else HealthStatus.FAIL,
        checks=checks,
        at=known.at if known else None,
        stale=found is None,
        services=known.services if known else (),
        rabbitmq=known.rabbitmq if known else None,
        postgres=known.postgres if known else None,
    )


def hour_before(moment: datetime | None) -> datetime:
    """Return the default begin of a metrics query; the begin of time when there is none."""
    moment = moment or datetime.now(UTC)
    hour = timedelta(hours=1)
    return moment - hour if moment - EARLIEST > hour else EARLIEST


TRACE_NOT_FOUND = Problem(code="trace_not_found", title="There is no such trace", status=404)
