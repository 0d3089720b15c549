"""The state machine behind alerts, as a specification."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.alerts import AlertLevel
from lineshaft_monitor.evaluation import (
    Condition,
    Evaluation,
    Step,
    Threshold,
    Transition,
    step,
)

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
WARNING, ERROR = AlertLevel.WARNING, AlertLevel.ERROR
GAP = 75.0

TWO_LEVELS = Condition(
    comparison=">=",
    thresholds=(
        Threshold(level=WARNING, raise_at=80, clear_at=70),
        Threshold(level=ERROR, raise_at=90, clear_at=85),
    ),
    for_seconds=60,
    recover_seconds=30,
)
DOWN = Condition(comparison=">=", thresholds=(Threshold(level=WARNING, raise_at=1, clear_at=1),))


class Series:
    """Shows values to a condition, `every` seconds apart."""

    def __init__(self, condition: Condition, *, every: float = 30) -> None:
        self.condition = condition
        self.every = every
        self.evaluation = Evaluation()
        self.now = START

    def show(self, *values: float | None) -> list[Transition]:
        return [t for value in values if (t := self._show(value)) is not None]

    def _show(self, value: float | None) -> Transition | None:
        self.now += timedelta(seconds=self.every)
        self.evaluation, transition = step(
            self.condition, self.evaluation, value, self.now, gap_max_seconds=GAP
        )
        return transition


def test_an_alert_is_raised_after_the_condition_held_for_its_time() -> None:
    series = Series(TWO_LEVELS)
    assert series.show(82, 82) == []
    (raised,) = series.show(82)
    assert (raised.step, raised.level) == (Step.RAISED, WARNING)
    assert raised.reason == "value 82 >= 80 for 60 s"


def test_a_value_that_recovers_in_time_raises_nothing() -> None:
    assert Series(TWO_LEVELS).show(82, 82, 79, 82, 82, 60) == []


def test_without_for_the_first_bad_value_raises() -> None:
    (raised,) = Series(DOWN).show(1)
    assert raised.step is Step.RAISED


def test_a_worse_value_escalates_the_same_alert() -> None:
    series = Series(TWO_LEVELS)
    series.show(82, 82, 82)
    transitions = series.show(95, 95, 95)
    assert [(t.step, t.level, t.previous) for t in transitions] == [
        (Step.ESCALATED, ERROR, WARNING)
    ]


def test_a_better_value_de_escalates_after_the_recovery_time() -> None:
    series = Series(TWO_LEVELS)
    series.show(95, 95, 95)
    assert series.show(86) == []  # Not yet on the other side of the level's clear threshold.
    assert series.show(84) == []
    (better,) = series.show(84)
    assert (better.step, better.level, better.previous) == (Step.ESCALATED, WARNING, ERROR)
    assert better.reason == "value 84 < 85 for 30 s"


def test_an_alert_is_resolved_with_its_reason() -> None:
    series = Series(DOWN)
    series.show(1)
    (resolved,) = series.show(0)
    assert resolved.step is Step.RESOLVED
    assert resolved.reason == "value 0 < 1 for 0 s"


def test_between_the_thresholds_an_open_alert_stays() -> None:
    series = Series(TWO_LEVELS)
    series.show(82, 82, 82)
    assert series.show(75, 75, 75, 75) == []
    assert series.evaluation.level is WARNING


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_an_unknown_value_never_resolves(unknown: float | None) -> None:
    series = Series(DOWN)
    series.show(1)
    assert series.show(unknown, unknown, unknown) == []
    assert series.evaluation.level is WARNING
    (resolved,) = series.show(0)
    assert resolved.step is Step.RESOLVED


def test_unknown_time_does_not_count() -> None:
    series = Series(TWO_LEVELS)
    assert series.show(82, None, 82, None, 82, None, 82) == []
    assert series.evaluation.held_seconds[WARNING] == 0


def test_a_restart_in_the_middle_of_for_continues_and_absence_does_not_count() -> None:
    series = Series(TWO_LEVELS)
    series.show(82, 82)  # 30 of 60 seconds.
    stored = Evaluation(held_seconds=dict(series.evaluation.held_seconds))
    series.evaluation = stored
    series.now += timedelta(hours=1)
    assert series.show(82) == []
    (raised,) = series.show(82)
    assert raised.step is Step.RAISED


def test_a_gap_in_the_data_does_not_count() -> None:
    series = Series(TWO_LEVELS, every=GAP + 1)
    assert series.show(82, 82, 82, 82) == []


def test_an_older_value_is_ignored() -> None:
    series = Series(DOWN)
    series.show(1)
    before = series.evaluation
    after, transition = step(DOWN, before, 0, START - timedelta(seconds=1), gap_max_seconds=GAP)
    assert after is before
    assert transition is None


def test_a_steady_alert_has_nothing_new_to_store() -> None:
    series = Series(TWO_LEVELS)
    series.show(82, 82, 82)
    before = series.evaluation
    series.show(82)
    assert series.evaluation == before


def test_lower_can_be_worse() -> None:
    up = Condition(comparison="<", thresholds=(Threshold(level=ERROR, raise_at=1, clear_at=1),))
    series = Series(up)
    raised, resolved = series.show(1, 0, 1)
    assert (raised.step, raised.reason) == (Step.RAISED, "value 0 < 1 for 0 s")
    assert resolved.reason == "value 1 >= 1 for 0 s"


VALUES = st.lists(
    st.one_of(st.none(), st.just(float("nan")), st.floats(min_value=0, max_value=100)),
    max_size=60,
)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    marks = sorted(draw(st.lists(st.integers(1, 99), min_size=4, max_size=4)))
    levels = draw(
        st.lists(
            st.sampled_from([AlertLevel.INFO, WARNING, ERROR, AlertLevel.CRITICAL]),
            min_size=1,
            max_size=2,
            unique=True,
        )
    )
    thresholds = [
        Threshold(level=level, raise_at=marks[2 * n + 1], clear_at=marks[2 * n])
        for n, level in enumerate(sorted(levels, key=lambda level: level.rank))
    ]
    return Condition(
        comparison=draw(st.sampled_from([">", ">="])),
        thresholds=tuple(thresholds),
        for_seconds=draw(st.sampled_from([0, 30, 60])),
        recover_seconds=draw(st.sampled_from([0, 30, 90])),
    )


@given(conditions(), VALUES)
def test_an_alert_is_opened_once_and_closed_only_when_all_is_clear(
    condition: Condition, values: Iterable[float | None]
) -> None:
    series = Series(condition)
    open_level: AlertLevel | None = None
    for value in values:
        for transition in series.show(value):
            assert value is not None
            assert value == value  # noqa: PLR0124 - not NaN
            match transition.step:
                case Step.RAISED:
                    assert open_level is None
                case Step.ESCALATED:
                    assert open_level is transition.previous
                    assert open_level is not transition.level
                case Step.RESOLVED:
                    assert open_level is transition.level
                    assert not any(condition.keeps(t, value) for t in condition.thresholds)
            open_level = None if transition.step is Step.RESOLVED else transition.level
        assert series.evaluation.level is open_level
