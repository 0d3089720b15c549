"""The exchanges, queues and bindings of the system, declared here and nowhere else."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """A durable exchange; what it cannot route goes to the unrouted queue and is counted."""

    name: str
    type: Literal["topic", "direct", "fanout"]
    alternate: str | None = "unrouted"

    def arguments(self) -> dict[str, str]:
        """Return the arguments that it is declared with, everywhere the same."""
        return {} if self.alternate is None else {"alternate-exchange": self.alternate}


@dataclass(frozen=True, kw_only=True)
class Binding:
    """From an exchange into a queue, for the routing keys that match the pattern."""

    exchange: Exchange
    pattern: str = "#"


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A durable queue with its bindings.

    `quorum` keeps what must not be lost, `classic` carries questions that expire with their
    deadline, `stream` retains a log. Limits that an operator may change later go by policy
    (`delivery_limit`, `max_length`, `max_bytes`, `message_ttl_seconds`), so that a changed
    number never refuses a running declaration.
    """

    name: str
    bindings: tuple[Binding, ...] = ()
    type: Literal["quorum", "classic", "stream"] = "quorum"
    dead_letter: str | None = "dead-letters"
    delivery_limit: int | None = 20
    max_length: int | None = None
    max_bytes: int | None = None
    message_ttl_seconds: int | None = None
    own: bool = False
    """Made for one customer while the system runs: its limits are its arguments, for good, and
    when it is full it takes nothing more, so that whoever publishes knows."""

    def limits(self) -> dict[str, int]:
        """Return the definition of the policy that carries its limits; empty without limits."""
        limits = {
            "delivery-limit": self.delivery_limit,
            "max-length": self.max_length,
            "max-length-bytes": self.max_bytes,
            "message-ttl": self.message_ttl_seconds and self.message_ttl_seconds * 1000,
        }
        return {name: limit for name, limit in limits.items() if limit is not None}

    def arguments(self) -> dict[str, str | int]:
        """Return the arguments that it is declared with: only what never changes."""
        arguments: dict[str, str | int] = {"x-queue-type": self.type}
        if self.own:
            arguments["x-overflow"] = "reject-publish"
            arguments |= {f"x-{name}": limit for name, limit in self.limits().items()}
        if self.dead_letter is not None:
            # The broker's own dead-lettering, for a message whose handler ends the process.
            arguments["x-dead-letter-exchange"] = "dead-letter"
            arguments["x-dead-letter-routing-key"] = self.dead_letter
        return arguments


@dataclass(frozen=True, kw_only=True)
class Topology:
    """All that the broker has to hold before the first message."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...] = field(default=())


LANES = ("critical", "high", "normal", "low")
"""Priority lanes, most urgent first; RabbitMQ 3.10 quorum queues know no priority of their own."""

REGIONS = ("us-east", "eu-west", "ap-southeast", "sa-east")
"""Regions of the default installation; each has a cdn-edge and a queue of its own."""

UNROUTED = Exchange(name="unrouted", type="fanout", alternate=None)
DEAD_LETTER = Exchange(name="dead-letter", type="direct", alternate="unrouted")

PLANT_INGRESS = Exchange(name="plant.ingress", type="direct")
PLANT_PRODUCTION = Exchange(name="plant.production", type="topic")
PLANT_INVENTORY = Exchange(name="plant.inventory", type="topic")
PLANT_QUALITY = Exchange(name="plant.quality", type="topic")
PLANT_RESOURCE = Exchange(name="plant.resource", type="topic")
PLATFORM_LOG = Exchange(name="platform.log", type="topic")

JOBS_COMMANDS = Exchange(name="jobs.commands", type="direct")
JOBS_EVENTS = Exchange(name="jobs.events", type="topic")
JOBS_WORK = Exchange(name="jobs.work", type="direct", alternate=None)
"""What workers of any language say: apart from all questions, so that it can be granted alone."""
ALERTS = Exchange(name="alerts", type="topic")
TELEMETRY = Exchange(name="telemetry", type="topic")
CDN_COMMANDS = Exchange(name="cdn.commands", type="direct")
CDN_EVENTS = Exchange(name="cdn.events", type="topic")

JOB_RUNNER_QUERIES = Exchange(name="job-runner.queries", type="direct", alternate=None)
EVENT_ROUTER_QUERIES = Exchange(name="event-router.queries", type="direct", alternate=None)
MONITOR_QUERIES = Exchange(name="monitor.queries", type="direct", alternate=None)

PLANT_DOMAINS = (PLANT_PRODUCTION, PLANT_INVENTORY, PLANT_QUALITY, PLANT_RESOURCE)


def query_queue(exchange: Exchange) -> Queue:
    """Questions to one service; they expire with their deadline, so nothing of them is kept."""
    return Queue(
        name=exchange.name,
        type="classic",
        dead_letter=None,
        delivery_limit=None,
        message_ttl_seconds=30,
        bindings=(Binding(exchange=exchange, pattern="query"),),
    )


def ingress_queue(lane: str) -> Queue:
    """One priority lane of the door for plant events."""
    return Queue(
        name=f"event-router.ingress.{lane}",
        dead_letter="plant.quarantine",
        bindings=(Binding(exchange=PLANT_INGRESS, pattern=lane),),
    )


def edge_queue(region: str) -> Queue:
    """Commands to the cdn-edge of a region; they wait there while the region is away."""
    return Queue(
        name=f"cdn-edge.{region}.commands",
        max_length=100_000,
        bindings=(Binding(exchange=CDN_COMMANDS, pattern="purge"),),
    )


DEAD_LETTERS = Queue(
    name="dead-letters",
    dead_letter=None,
    delivery_limit=None,
    bindings=(Binding(exchange=DEAD_LETTER, pattern="dead-letters"),),
)
PLANT_QUARANTINE = Queue(
    name="plant.quarantine",
    dead_letter=None,
    delivery_limit=None,
    max_length=1_000_000,
    bindings=(Binding(exchange=DEAD_LETTER, pattern="plant.quarantine"),),
)
UNROUTED_MESSAGES = Queue(
    name="unrouted",
    dead_letter=None,
    delivery_limit=None,
    max_length=100_000,
    bindings=(Binding(exchange=UNROUTED, pattern=""),),
)
EVENTS_LOG = Queue(
    name="events.log",
    type="stream",
    dead_letter=None,
    delivery_limit=None,
    max_bytes=4 * 1024**3,
    bindings=(
        *(Binding(exchange=domain) for domain in PLANT_DOMAINS),
        Binding(exchange=PLATFORM_LOG),
    ),
)
"""The retained log that live streams and replay read: plant events, and the platform's own."""

JOB_RUNNER_SUBMIT = Queue(
    name="job-runner.submit", bindings=(Binding(exchange=JOBS_COMMANDS, pattern="submit"),)
)
JOB_RUNNER_CANCEL = Queue(
    name="job-runner.cancel", bindings=(Binding(exchange=JOBS_COMMANDS, pattern="cancel"),)
)
JOB_RUNNER_ASKED = query_queue(JOB_RUNNER_QUERIES)
JOB_RUNNER_WORK = Queue(
    name="job-runner.work",
    type="classic",
    dead_letter=None,
    delivery_limit=None,
    message_ttl_seconds=30,
    bindings=(Binding(exchange=JOBS_WORK, pattern="work"),),
)
"""Apart from the questions: a flood of those costs no worker its leases."""

INGRESS = {lane: ingress_queue(lane) for lane in LANES}
EVENT_ROUTER_PLATFORM = Queue(
    name="event-router.platform",
    bindings=(
        Binding(exchange=JOBS_EVENTS),
        Binding(exchange=ALERTS),
        Binding(exchange=CDN_EVENTS),
    ),
)
EVENT_ROUTER_ASKED = query_queue(EVENT_ROUTER_QUERIES)

MONITOR_TELEMETRY = Queue(
    name="monitor.telemetry",
    max_length=100_000,
    bindings=(Binding(exchange=TELEMETRY),),
)
MONITOR_PLANT = Queue(
    name="monitor.plant", bindings=tuple(Binding(exchange=domain) for domain in PLANT_DOMAINS)
)
MONITOR_ASKED = query_queue(MONITOR_QUERIES)

EDGES = {region: edge_queue(region) for region in REGIONS}

TOPOLOGY = Topology(
    exchanges=(
        UNROUTED,
        DEAD_LETTER,
        PLANT_INGRESS,
        *PLANT_DOMAINS,
        PLATFORM_LOG,
        JOBS_COMMANDS,
        JOBS_EVENTS,
        JOBS_WORK,
        ALERTS,
        TELEMETRY,
        CDN_COMMANDS,
        CDN_EVENTS,
        JOB_RUNNER_QUERIES,
        EVENT_ROUTER_QUERIES,
        MONITOR_QUERIES,
    ),
    queues=(
        DEAD_LETTERS,
        PLANT_QUARANTINE,
        UNROUTED_MESSAGES,
        EVENTS_LOG,
        JOB_RUNNER_SUBMIT,
        JOB_RUNNER_CANCEL,
        JOB_RUNNER_ASKED,
        JOB_RUNNER_WORK,
        *INGRESS.values(),
        EVENT_ROUTER_PLATFORM,
        EVENT_ROUTER_ASKED,
        MONITOR_TELEMETRY,
        MONITOR_PLANT,
        MONITOR_ASKED,
        *EDGES.values(),
    ),
)
