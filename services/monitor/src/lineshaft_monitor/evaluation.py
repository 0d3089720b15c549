"""What a rule thinks of one series: a pure state machine over the values it is shown.

Time counts only between two known values that follow each other soon enough: neither a gap in
the data nor the monitor's own absence makes a condition older than it was seen to be. A value
that is not known changes nothing, so it never resolves an alert.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from operator import ge, gt, le, lt

from lineshaft_contracts.alerts import AlertLevel

COMPARISONS = {">": gt, ">=": ge, "<": lt, "<=": le}
OPPOSITES = {">": "<=", ">=": "<", "<": ">=", "<=": ">"}


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A level begins at `raise_at` and ends on the other side of `clear_at`."""

    level: AlertLevel
    raise_at: float
    clear_at: float


@dataclass(frozen=True, kw_only=True)
class Condition:
    """When a value is bad; thresholds in rising order of their levels."""

    comparison: str
    thresholds: tuple[Threshold, ...]
    for_seconds: float = 0.0
    recover_seconds: float = 0.0

    def raises(self, threshold: Threshold, value: float) -> bool:
        """Whether the value is bad enough for this level."""
        return COMPARISONS[self.comparison](value, threshold.raise_at)

    def keeps(self, threshold: Threshold, value: float) -> bool:
        """Whether the value is still too bad to leave this level."""
        return COMPARISONS[self.comparison](value, threshold.clear_at)

    def threshold(self, level: AlertLevel) -> Threshold | None:
        """Return the threshold of a level; None when the condition has no such level."""
        return next((t for t in self.thresholds if t.level is level), None)


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What is remembered between two values; equal when nothing is worth storing anew."""

    level: AlertLevel | None = None
    """Of the alert that is open; None without one."""
    held_seconds: Mapping[AlertLevel, float] = field(default_factory=dict[AlertLevel, float])
    """For how long each level's threshold has been exceeded, at most `for_seconds`."""
    cleared_seconds: float | None = None
    """For how long the open level has been over; None while it is not."""
    at: datetime | None = field(default=None, compare=False)
    """Of the last known value; None after an unknown one."""

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        return self.level is None and not self.held_seconds


class Step(StrEnum):
    """What happened to the alert."""

    RAISED = "raised"
    ESCALATED = "escalated"
    RESOLVED = "resolved"


@dataclass(frozen=True, kw_only=True)
class Transition:
    """A change of the alert, and why."""

    step: Step
    level: AlertLevel
    previous: AlertLevel | None
    reason: str
    held_seconds: float = 0.0
    """How long the condition had held before this."""


def step(
    condition: Condition,
    before: Evaluation,
    value: float | None,
    at: datetime,
    *,
    gap_max_seconds: float,
) -> tuple[Evaluation, Transition | None]:
    """Show the next value; return what is remembered from now on and what happened, if anything.

    A value older than the last one is ignored. None and NaN mean unknown.
    """
    if value is None or math.isnan(value):
        return replace(before, at=None), None
    elapsed = 0.0 if before.at is None else (at - before.at) / timedelta(seconds=1)
    if elapsed < 0:
        return before, None
    elapsed = 0.0 if elapsed > gap_max_seconds else elapsed
    held = {
        t.level: min(condition.for_seconds, before.held_seconds.get(t.level, -elapsed) + elapsed)
        for t in condition.thresholds
        if condition.raises(t, value)
    }
    ripe = [level for level, seconds in held.items() if seconds >= condition.for_seconds]
    worst = max(ripe, key=lambda level: level.rank, default=None)
    shown = replace(before, held_seconds=held, at=at)
    if worst is not None and (before.level is None or worst.rank > before.level.rank):
        return _rise(condition, shown, worst, value)
    if before.level is None:
        return shown, None
    return _fall(condition, shown, before.level, value, elapsed)


def _rise(
    condition: Condition, shown: Evaluation, level: AlertLevel, value: float
) -> tuple[Evaluation, Transition]:
    threshold = condition.threshold(level)
    raise_at = math.nan if threshold is None else threshold.raise_at
    reason = _words(value, condition.comparison, raise_at, condition.for_seconds)
    transition = Transition(
        step=Step.RAISED if shown.level is None else Step.ESCALATED,
        level=level,
        previous=shown.level,
        reason=reason,
        held_seconds=condition.for_seconds,
    )
    return replace(shown, level=level, cleared_seconds=None), transition


def _fall(
    condition: Condition, shown: Evaluation, level: AlertLevel, value: float, elapsed: float
) -> tuple[Evaluation, Transition | None]:
    """Leave a level that has been over for `recover_seconds`: for a lower one, or for good."""
    current = condition.threshold(level)
    # A level that the rule does not have any more ends like one whose threshold is passed.
    if current is not None and condition.keeps(current, value):
        return replace(shown, cleared_seconds=None), None
    cleared = 0.0 if shown.cleared_seconds is None else shown.cleared_seconds + elapsed
    if cleared < condition.recover_seconds:
        return replace(shown, cleared_seconds=cleared), None
    lower = [
        t for t in condition.thresholds if t.level.rank < level.rank and condition.keeps(t, value)
    ]
    opposite = OPPOSITES[condition.comparison]
    clear_at = (current or condition.thresholds[0]).clear_at
    reason = _words(value, opposite, clear_at, condition.recover_seconds)
    if lower:
        into = lower[-1].level
        transition = Transition(step=Step.ESCALATED, level=into, previous=level, reason=reason)
        return replace(shown, level=into, cleared_seconds=None), transition
    transition = Transition(step=Step.RESOLVED, level=level, previous=level, reason=reason)
    return Evaluation(held_seconds=shown.held_seconds, at=shown.at), transition


def _words(value: float, comparison: str, threshold: float, seconds: float) -> str:
    return f"value {value:.6g} {comparison} {threshold:.6g} for {seconds:g} s"
