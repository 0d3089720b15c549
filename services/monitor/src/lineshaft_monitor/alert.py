"""An alert, its changes, and what is stored with them in one transaction."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from lineshaft_contracts.alerts import (
    AlertEscalated,
    AlertEvent,
    AlertLevel,
    AlertRaised,
    AlertResolved,
)
from lineshaft_contracts.envelope import PLATFORM_TENANT, Envelope, Priority, envelop, uuid7

from lineshaft_monitor.evaluation import Evaluation, Step, Transition

SOURCE = "/services/monitor"
PRIORITIES = {
    AlertLevel.CRITICAL: Priority.CRITICAL,
    AlertLevel.ERROR: Priority.HIGH,
    AlertLevel.WARNING: Priority.NORMAL,
}


@dataclass(frozen=True, kw_only=True)
class Alert:
    """An alert as it is stored."""

    id: UUID
    tenant: str
    level: AlertLevel
    rule: str
    fingerprint: str
    labels: dict[str, str]
    value: float | None
    summary: str
    sequence: int
    started_at: datetime
    changed_at: datetime
    resolved_at: datetime | None = None
    reason: str | None = None


@dataclass(frozen=True, kw_only=True)
class Change:
    """An alert after a change, what the change was, and the event that announces it."""

    alert: Alert
    step: Step
    reason: str
    event: Envelope[Any]


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What a rule remembers about labels, as it is stored."""

    rule: str
    labels: dict[str, str]
    evaluation: Evaluation
    value: float | None
    event_at: datetime | None = None
    """Of the event that a pushed signal came with."""

    @property
    def is_idle(self) -> bool:
        """Whether it need not be kept."""
        return self.evaluation.is_idle and self.event_at is None


@dataclass(kw_only=True)
class Commit:
    """All that has to be stored in one transaction."""

    changes: list[Change] = field(default_factory=list[Change])
    memories: dict[str, Memory] = field(default_factory=dict[str, Memory])
    """By fingerprint; an idle one is deleted."""

    def __bool__(self) -> bool:
        return bool(self.changes or self.memories)


class AlertStore(Protocol):
    """Where alerts are kept."""

    async def load(self) -> tuple[list[Alert], dict[str, Memory]]:
        """Return the open alerts, and what rules remember by fingerprint."""
        ...

    async def commit(self, commit: Commit) -> None:
        """Store everything in one transaction, the events in the outbox."""
        ...


def fingerprint_of(rule: str, labels: Mapping[str, str]) -> str:
    """Name (rule, labels) in 32 hexadecimal digits."""
    text = json.dumps([rule, sorted(labels.items())], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def announced(alert: Alert, transition: Transition) -> Change:
    """Pair an alert that changed with its event."""
    common: dict[str, Any] = {
        "alert_id": alert.id,
        "sequence": alert.sequence,
        "fingerprint": alert.fingerprint,
        "rule": alert.rule,
        "level": alert.level,
        "labels": alert.labels,
        "value": alert.value,
        "summary": alert.summary,
        "started_at": alert.started_at,
    }
    event: AlertEvent
    match transition.step:
        case Step.RAISED:
            event = AlertRaised(**common)
        case Step.ESCALATED:
            previous = transition.previous or AlertLevel.UNKNOWN
            event = AlertEscalated(**common, previous_level=previous)
        case Step.RESOLVED:
            event = AlertResolved(**common, reason=transition.reason, resolved_at=alert.changed_at)
    envelope = envelop(
        event,
        source=SOURCE,
        tenant=alert.tenant,
        subject=str(alert.id),
        partitionkey=alert.fingerprint,
        priority=PRIORITIES.get(alert.level, Priority.LOW),
    )
    return Change(alert=alert, step=transition.step, reason=transition.reason, event=envelope)


def begin(fingerprint: str, memory: Memory, at: datetime) -> Alert:
    """Begin an alert; its first change fills in the rest."""
    return Alert(
        id=uuid7(),
        tenant=memory.labels.get("tenant", PLATFORM_TENANT),
        level=AlertLevel.UNKNOWN,
        rule=memory.rule,
        fingerprint=fingerprint,
        labels=memory.labels,
        value=None,
        summary="",
        sequence=0,
        started_at=at,
        changed_at=at,
    )
