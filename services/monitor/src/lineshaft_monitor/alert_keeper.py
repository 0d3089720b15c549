"""Keeps one alert per rule and labels: evaluates what is observed, stores and announces changes.

A change of an alert, its history and its event are handed to the store as one `Commit`, which it
stores whole or not at all; what is remembered here follows only after that.
"""

import asyncio
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog
from lineshaft_contracts.alerts import AlertLevel
from lineshaft_contracts.envelope import PLATFORM_TENANT
from prometheus_client import Counter

from lineshaft_monitor.alert import (
    Alert,
    AlertStore,
    Commit,
    Memory,
    announced,
    begin,
    fingerprint_of,
)
from lineshaft_monitor.evaluation import Evaluation, Step, Transition, step
from lineshaft_monitor.rules import Rule
from lineshaft_monitor.samples.series import Labels

log = structlog.get_logger(__name__)

OBSERVATIONS_AT_ONCE = 500

CHANGES = Counter("lineshaft_monitor_alert_changes_total", "Changes of alerts", ["event", "level"])


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """A value of one series at a moment; None when it is not known."""

    name: str
    labels: Labels
    value: float | None
    at: datetime
    rate: float | None = None
    """Growth per second, of counters."""
    event_at: datetime | None = None
    """Of the event that a pushed signal came with."""


class AlertKeeper:
    """See the module. Calls are serialized: there is one writer."""

    def __init__(
        self,
        store: AlertStore,
        rules: Sequence[Rule],
        *,
        gap_max_seconds: float,
        announce: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._announce = announce
        self._gap_max_seconds = gap_max_seconds
        self._rules = {r.name: r for rule in rules for r in (rule, rule.stale_rule) if r}
        self._by_metric: dict[str, list[Rule]] = {}
        for rule in rules:
            self._by_metric.setdefault(rule.metric, []).append(rule)
        self._memories: dict[str, Memory] = {}
        self._open: dict[str, Alert] = {}
        self._seen: dict[tuple[str, Labels], datetime] = {}
        """When rules with `stale` saw their series last."""
        self._loaded = False
        self._lock = asyncio.Lock()

    def firing(self, tenant: str) -> dict[str, int]:
        """Count the open alerts that a tenant may see, by level."""
        visible = (
            alert.level.value
            for alert in self._open.values()
            if tenant == PLATFORM_TENANT or alert.tenant in {tenant, PLATFORM_TENANT}
        )
        counts = {level.value: 0 for level in AlertLevel if level is not AlertLevel.UNKNOWN}
        return {**counts, **Tally(visible)}

    def remembered(self, metric: str) -> list[Memory]:
        """List what rules about a metric remember."""
        return [
            memory
            for memory in self._memories.values()
            if (rule := self._rules.get(memory.rule)) is not None and rule.metric == metric
        ]

    def wants(self, metric: str) -> bool:
        """Whether any rule is about this metric."""
        return metric in self._by_metric

    def watches_duration(self, metric: str) -> bool:
        """Whether a rule about this metric has to be shown a value again that did not change."""
        return any(
            rule.for_seconds or rule.recover_seconds or rule.rate or rule.stale
            for rule in self._by_metric.get(metric, ())
        )

    async def start(self, now: datetime) -> None:
        """Load what was remembered, and end the alerts of rules that are gone."""
        async with self._lock:
            await self._load()
            commit = Commit()
            for fingerprint, memory in self._memories.items():
                if memory.rule not in self._rules:
                    self._end(commit, fingerprint, "rule deleted", now)
            await self._commit(commit)

    async def observe(self, observations: Iterable[Observation]) -> bool:
        """Evaluate values; return whether any alert changed. Raises when it cannot be stored.

        Idempotent: the same values again change nothing.
        """
        async with self._lock:
            await self._load()
            commit = Commit()
            for number, observation in enumerate(observations, 1):
                if number % OBSERVATIONS_AT_ONCE == 0:
                    await asyncio.sleep(0)  # Others have their turn.
                for rule in self._by_metric.get(observation.name, ()):
                    self._evaluate(commit, rule, observation)
            return await self._commit(commit)

    async def check_stale(self, now: datetime) -> bool:
        """Evaluate the age of series whose rules ask for it."""
        async with self._lock:
            await self._load()
            commit = Commit()
            for (name, labels), seen in self._seen.items():
                stale = self._rules[name].stale_rule
                if stale is not None:
                    age = max(0.0, (now - seen) / timedelta(seconds=1))
                    self._show(
                        commit,
                        stale,
                        Observation(name=stale.metric, labels=labels, value=age, at=now),
                    )
            return await self._commit(commit)

    async def forget(self, labels: Mapping[str, str], reason: str, now: datetime) -> bool:
        """End the alerts about something that is not there any more; remember nothing of it."""
        wanted = labels.items()
        async with self._lock:
            await self._load()
            commit = Commit()
            for fingerprint, memory in self._memories.items():
                if wanted <= memory.labels.items():
                    self._end(commit, fingerprint, reason, now)
            for key in [key for key in self._seen if wanted <= dict(key[1]).items()]:
                del self._seen[key]
            return await self._commit(commit)

    async def _load(self) -> None:
        """Read everything, at the start and after a commit whose outcome is not known."""
        if not self._loaded:
            alerts, memories = await self._store.load()
            self._open = {alert.fingerprint: alert for alert in alerts}
            for fingerprint, alert in self._open.items():
                memories.setdefault(
                    fingerprint,
                    Memory(
                        rule=alert.rule,
                        labels=alert.labels,
                        evaluation=Evaluation(level=alert.level),
                        value=alert.value,
                    ),
                )
            self._memories = memories
            self._loaded = True

    async def _commit(self, commit: Commit) -> bool:
        if not commit:
            return False
        self._loaded = False  # Until the store said that it has it.
        await self._store.commit(commit)
        self._loaded = True
        for fingerprint, memory in commit.memories.items():
            if memory.is_idle:
                self._memories.pop(fingerprint, None)
            else:
                self._memories[fingerprint] = memory
        for change in commit.changes:
            alert = change.alert
            if alert.resolved_at is None:
                self._open[alert.fingerprint] = alert
            else:
                self._open.pop(alert.fingerprint, None)
            CHANGES.labels(change.step, alert.level).inc()
            log.warning(
                "alert_changed",
                change=change.step,
                rule=alert.rule,
                alert_level=alert.level,
                labels=alert.labels,
                summary=alert.summary,
                reason=change.reason,
            )
        if commit.changes:
            self._announce()
        return bool(commit.changes)

    def _evaluate(self, commit: Commit, rule: Rule, observation: Observation) -> None:
        if not rule.applies_to(dict(observation.labels)):
            return
        if rule.stale is not None and observation.value is not None:
            self._seen[rule.name, observation.labels] = observation.at
        if rule.rate:
            observation = replace(observation, value=observation.rate)
        self._show(commit, rule, observation)

    def _show(self, commit: Commit, rule: Rule, observation: Observation) -> None:
        labels = dict(observation.labels)
        fingerprint = fingerprint_of(rule.name, labels)
        known = commit.memories.get(fingerprint) or self._memories.get(fingerprint)
        before = known.evaluation if known else Evaluation()
        after, transition = step(
            rule.condition,
            before,
            observation.value,
            observation.at,
            gap_max_seconds=self._gap_max_seconds,
        )
        memory = Memory(
            rule=rule.name,
            labels=labels,
            evaluation=after,
            value=observation.value,
            event_at=observation.event_at or (known.event_at if known else None),
        )
        if after != before:
            commit.memories[fingerprint] = memory
        elif known is not None and fingerprint not in commit.memories:
            # Only the time of the last value is new: worth remembering, not worth storing.
            self._memories[fingerprint] = replace(known, evaluation=after)
        if transition is not None:
            alert = self._alert(commit, fingerprint) or begin(fingerprint, memory, observation.at)
            changed = self._changed(alert, rule, transition, observation)
            commit.changes.append(announced(changed, transition))

    @staticmethod
    def _changed(
        before: Alert, rule: Rule, transition: Transition, observation: Observation
    ) -> Alert:
        labels, value, at = before.labels, observation.value, observation.at
        over = transition.step is Step.RESOLVED
        held = timedelta(seconds=transition.held_seconds)
        return replace(
            before,
            level=transition.level,
            value=value,
            summary=before.summary
            if over
            else rule.write_summary(labels, value, transition.level),
            sequence=before.sequence + 1,
            started_at=at - held if transition.step is Step.RAISED else before.started_at,
            changed_at=at,
            resolved_at=at if over else None,
            reason=transition.reason if over else None,
        )

    def _alert(self, commit: Commit, fingerprint: str) -> Alert | None:
        """Return the open alert as it is after what the commit holds already."""
        for change in reversed(commit.changes):
            if change.alert.fingerprint == fingerprint:
                return change.alert if change.alert.resolved_at is None else None
        return self._open.get(fingerprint)

    def _end(self, commit: Commit, fingerprint: str, reason: str, now: datetime) -> None:
        known = self._memories.get(fingerprint)
        alert = self._open.get(fingerprint)
        if known is not None:
            commit.memories[fingerprint] = replace(known, evaluation=Evaluation(), event_at=None)
        if alert is None:
            return
        transition = Transition(
            step=Step.RESOLVED, level=alert.level, previous=alert.level, reason=reason
        )
        over = replace(
            alert,
            sequence=alert.sequence + 1,
            changed_at=now,
            resolved_at=now,
            reason=reason,
        )
        commit.changes.append(announced(over, transition))
