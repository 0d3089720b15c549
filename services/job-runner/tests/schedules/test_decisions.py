"""What becomes of fires, by the policies of their schedule."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from lineshaft_contracts.job_schedules import CATCH_UP_MAX, JobSchedule
from lineshaft_job_runner.schedules.decisions import Course, decide
from lineshaft_job_runner.schedules.schedule import DueSchedule

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
EARLIER_JOB = UUID(int=7)
SUBMITTED, MISSED, BUSY = "submitted", "skipped_missed", "skipped_busy"


def course(
    *, hours_due: int, late: float = 1, busy: bool = False, every: int = 3600, **fields: Any
) -> Course:
    """Decide about an hourly schedule whose last of several due fires was at noon."""
    first = NOON - timedelta(seconds=every) * (hours_due - 1)
    schedule = JobSchedule(
        job_type="trial.wait", every_seconds=every, starts_at=first - timedelta(days=1), **fields
    )
    due = DueSchedule(
        id=UUID(int=1),
        tenant="acme",
        name="nightly",
        text="",
        made_at=first,
        fire_at=first,
        last_job_id=EARLIER_JOB,
        busy=busy,
    )
    return decide(due, schedule, now=NOON + timedelta(seconds=late))


def outcomes(decided: Course) -> list[str]:
    return [decision.outcome.value for decision in decided.decisions]


@pytest.mark.parametrize("on_missed", ["skip", "one", "all"])
def test_a_fire_within_the_grace_is_not_missed(on_missed: str) -> None:
    decided = course(hours_due=1, late=59, on_missed=on_missed)
    assert outcomes(decided) == [SUBMITTED]
    assert decided.decisions[0].fire_at == NOON
    assert decided.next_fire_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("on_missed", "late", "expected"),
    [
        ("skip", 61, [MISSED, MISSED, MISSED]),
        ("skip", 59, [MISSED, MISSED, SUBMITTED]),
        ("one", 61, [MISSED, MISSED, SUBMITTED]),
        ("one", 59, [MISSED, MISSED, SUBMITTED]),
        ("all", 61, [SUBMITTED, SUBMITTED, SUBMITTED]),
    ],
)
def test_each_missed_fire_is_decided_by_its_policy(
    on_missed: str, late: float, expected: list[str]
) -> None:
    decided = course(hours_due=3, late=late, on_missed=on_missed, on_busy="run")
    assert outcomes(decided) == expected
    hours = [decision.fire_at.hour for decision in decided.decisions]
    assert hours == [10, 11, 12]
    assert decided.next_fire_at == NOON + timedelta(hours=1)


@pytest.mark.parametrize(
    ("on_busy", "busy", "expected", "cancels"),
    [
        ("skip", True, [BUSY], False),
        ("skip", False, [SUBMITTED], False),
        ("run", True, [SUBMITTED], False),
        ("cancel", True, [SUBMITTED], True),
        ("cancel", False, [SUBMITTED], False),
    ],
)
def test_a_job_that_has_not_ended_meets_the_policy_for_busy(
    on_busy: str, busy: bool, expected: list[str], cancels: bool
) -> None:
    decided = course(hours_due=1, busy=busy, on_busy=on_busy)
    assert (outcomes(decided), decided.cancels) == (expected, cancels)
    if expected == [BUSY]:
        assert str(EARLIER_JOB) in decided.decisions[0].detail


@pytest.mark.parametrize("on_busy", ["skip", "cancel"])
def test_fires_that_may_not_run_beside_each_other_are_made_up_for_by_the_last(
    on_busy: str,
) -> None:
    decided = course(hours_due=3, late=600, on_missed="all", on_busy=on_busy)
    assert outcomes(decided) == [BUSY, BUSY, SUBMITTED]


def test_a_skipped_fire_cancels_nothing() -> None:
    decided = course(hours_due=2, late=600, busy=True, on_missed="skip", on_busy="cancel")
    assert (outcomes(decided), decided.cancels) == ([MISSED, MISSED], False)


@pytest.mark.parametrize("on_missed", ["one", "all"])
def test_what_is_made_up_for_is_bounded_and_the_rest_is_one_row(on_missed: str) -> None:
    decided = course(hours_due=5_000, every=60, on_missed=on_missed, on_busy="run")
    first, *latest = decided.decisions
    assert len(latest) == CATCH_UP_MAX
    assert latest[0].fire_at == NOON - timedelta(minutes=CATCH_UP_MAX - 1)
    assert first.fire_at == NOON - timedelta(minutes=4_999)
    assert first.detail == "and every fire after it before 2026-11-25T10:21:00+00:00"
    assert outcomes(decided).count(SUBMITTED) == (1 if on_missed == "one" else CATCH_UP_MAX)


def test_exactly_a_hundred_missed_fires_are_a_hundred_rows() -> None:
    decided = course(hours_due=CATCH_UP_MAX, every=60, on_missed="all", on_busy="run")
    assert outcomes(decided) == [SUBMITTED] * CATCH_UP_MAX


def test_the_last_fire_before_the_end_has_no_next_one() -> None:
    decided = course(hours_due=1, ends_at=NOON + timedelta(minutes=1))
    assert (outcomes(decided), decided.next_fire_at) == ([SUBMITTED], None)
