"""Alerts on platform and plant: what is wrong, how bad, since when, and why it ended."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from lineshaft_contracts.envelope import Asking, Envelope, Message, Moment, Value
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import ALERTS, MONITOR_QUERIES


class AlertLevel(StrEnum):
    """How bad it is; in rising order info, warning, error, critical."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"
    UNKNOWN = "unknown"

    @property
    def rank(self) -> int:
        """0 for info up to 3 for critical; -1 for a level that this process does not know."""
        return _RANKS[self]

    @classmethod
    def _missing_(cls, value: object) -> "AlertLevel":
        return cls.UNKNOWN


_RANKS = {
    AlertLevel.INFO: 0,
    AlertLevel.WARNING: 1,
    AlertLevel.ERROR: 2,
    AlertLevel.CRITICAL: 3,
    AlertLevel.UNKNOWN: -1,
}


class AlertState(StrEnum):
    """Whether the condition holds; an alert that was resolved stays resolved."""

    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"

    @classmethod
    def _missing_(cls, value: object) -> "AlertState":
        return cls.UNKNOWN


class AlertEvent(Message):
    """What every event about an alert says. The envelope's `subject` is the alert's id."""

    alert_id: UUID
    sequence: int
    """1 for the first event of the alert, then counting: (alert_id, sequence) is unique."""
    fingerprint: str
    """Names (rule, labels): the same for every alert about the same thing."""
    rule: str
    level: AlertLevel
    labels: dict[str, str]
    value: float | None
    """What was compared with the threshold; None when the absence of a value is the alert."""
    summary: str
    """One sentence for people."""
    started_at: Moment
    """When the condition began to hold."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """Return `<tenant>.<level>.<event>`."""
        return f"{envelope.tenant}.{self.level}.{self.type.split('.')[2]}"


@message("lineshaft.alerts.raised.v1", kind=Kind.EVENT, owner="monitor", exchange=ALERTS)
class AlertRaised(AlertEvent):
    """Something is wrong that was not before."""


@message("lineshaft.alerts.escalated.v1", kind=Kind.EVENT, owner="monitor", exchange=ALERTS)
class AlertEscalated(AlertEvent):
    """An alert that is firing got worse or better: same alert, another level."""

    previous_level: AlertLevel


@message("lineshaft.alerts.resolved.v1", kind=Kind.EVENT, owner="monitor", exchange=ALERTS)
class AlertResolved(AlertEvent):
    """It is over; `level` is the last one it had."""

    reason: str
    """In words, such as `value 0 < 1 for 0 s`."""
    resolved_at: Moment


class AlertView(Value):
    """An alert as a line of a list."""

    id: UUID
    tenant: str
    state: AlertState
    level: AlertLevel
    rule: str
    fingerprint: str
    labels: dict[str, str]
    value: float | None
    summary: str
    started_at: Moment
    changed_at: Moment
    """When its level or state changed last."""
    resolved_at: Moment | None = None
    reason: str | None = None
    """Why it was resolved."""


class AlertChange(Value):
    """One entry of an alert's history."""

    sequence: int
    event: str
    """raised, escalated or resolved."""
    level: AlertLevel
    value: float | None
    reason: str
    at: Moment


class _AlertQuery:
    """What the queries of this module share."""

    def routing_key(self, envelope: Envelope[Any]) -> str:
        """All questions to the monitor travel through one queue."""
        return "query"


@message("lineshaft.alerts.page.v1", kind=Kind.REPLY, owner="monitor")
class AlertPage(Message):
    """Answer to ListAlerts, newest first."""

    alerts: tuple[AlertView, ...]
    firing: dict[str, int]
    """All firing alerts that the asker may see, by level, whatever was asked for."""
    next_cursor: str | None = None
    """Pass it as `cursor` for the page after this one; None when this is the last."""


@message(
    "lineshaft.alerts.list.v1",
    kind=Kind.QUERY,
    owner="monitor",
    exchange=MONITOR_QUERIES,
    durable=False,
)
class ListAlerts(_AlertQuery, Asking[AlertPage]):
    """Alerts of the asking tenant and of the platform; the platform itself sees all.

    Problem `invalid_cursor` for a cursor that no page gave.
    """

    state: AlertState | None = None
    level: AlertLevel | None = None
    rule: Annotated[str, Field(max_length=64)] | None = None
    limit: Annotated[int, Field(ge=1, le=500)] = 50
    cursor: Annotated[str, Field(max_length=128)] | None = None


@message("lineshaft.alerts.alert.v1", kind=Kind.REPLY, owner="monitor")
class AlertFound(Message):
    """Answer to GetAlert; history in the order in which it happened."""

    alert: AlertView
    history: tuple[AlertChange, ...]


@message(
    "lineshaft.alerts.get.v1",
    kind=Kind.QUERY,
    owner="monitor",
    exchange=MONITOR_QUERIES,
    durable=False,
)
class GetAlert(_AlertQuery, Asking[AlertFound]):
    """One alert with its history; problem `alert_not_found` when the asker may see none such."""

    alert_id: UUID
