"""Who is up, played on a clock."""

from datetime import UTC, datetime, timedelta

import pytest
from lineshaft_contracts.monitoring import ServiceState
from lineshaft_contracts.telemetry import ServiceReported
from lineshaft_monitor.presence import Presence, Process

START = datetime(2026, 3, 2, 6, 0, tzinfo=UTC)
UP, DOWN, UNKNOWN = ServiceState.UP, ServiceState.DOWN, ServiceState.UNKNOWN


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def report(
    instance: str = "a", *, ready: bool = True, stopping: bool = False, service: str = "gateway"
) -> ServiceReported:
    return ServiceReported(
        service=service,
        instance=instance,
        version="1",
        ready=ready,
        interval_seconds=30,
        stopping=stopping,
        samples=(),
    )


@pytest.fixture
def presence() -> Presence:
    return Presence(started_at=START)


def only(presence: Presence) -> Process:
    (process,) = presence
    return process


def test_a_process_is_down_after_two_missed_reports(presence: Presence) -> None:
    presence.heard(report(), at(0))
    presence.check(at(60))
    assert only(presence).state is UP
    presence.check(at(62))
    assert only(presence).state is DOWN
    assert only(presence).since == at(62)
    presence.heard(report(), at(70))
    assert only(presence).state is UP


def test_a_process_that_is_not_ready_is_degraded(presence: Presence) -> None:
    presence.heard(report(ready=False), at(0))
    assert only(presence).state is ServiceState.DEGRADED


def test_a_clean_stop_is_no_outage(presence: Presence) -> None:
    presence.heard(report(), at(0))
    presence.heard(report(stopping=True), at(10))
    (left,) = presence.check(at(11))
    assert left.instance == "a"
    presence.check(at(600))
    assert only(presence).state is ServiceState.STOPPED
    assert only(presence).uptime_ratio is None or only(presence).down_seconds == 0
    presence.check(at(4000))
    assert list(presence) == []


def test_nobody_is_down_while_reports_cannot_arrive(presence: Presence) -> None:
    presence.heard(report(), at(0))
    presence.deaf(at(10), deaf=True)
    presence.check(at(200))
    assert only(presence).state is UNKNOWN
    presence.deaf(at(200), deaf=False)
    presence.check(at(250))
    assert only(presence).state is UNKNOWN
    presence.check(at(262))
    assert only(presence).state is DOWN


def test_a_process_that_died_while_the_monitor_was_away_is_missed() -> None:
    before = Presence(started_at=START)
    before.heard(report(), at(0))
    after = Presence(started_at=at(3600))
    after.load(before)
    after.check(at(3601))
    assert only(after).state is UNKNOWN
    after.check(at(3662))
    assert only(after).state is DOWN


def test_a_successor_takes_the_place_of_a_process_that_is_gone(presence: Presence) -> None:
    presence.heard(report("a"), at(0))
    presence.heard(report("b"), at(20))
    (replaced,) = presence.check(at(62))
    assert replaced.instance == "a"
    assert only(presence).instance == "b"


def test_a_successor_replaces_only_one(presence: Presence) -> None:
    presence.heard(report("a"), at(0))
    presence.heard(report("b"), at(0))
    presence.heard(report("c"), at(50))
    presence.check(at(70))
    assert [process.state for process in presence] == [DOWN, UP]


def test_an_older_report_changes_nothing(presence: Presence) -> None:
    presence.heard(report(), at(10))
    presence.heard(report(ready=False), at(5))
    assert only(presence).state is UP


def test_uptime_is_weighted_by_time(presence: Presence) -> None:
    presence.heard(report(), at(0))
    for second in range(1, 161):
        if second == 40:
            presence.heard(report(), at(40))
        presence.check(at(second))
    # Up from 0 to 101 (two reports after 40 are missing), then down.
    assert only(presence).uptime_ratio == pytest.approx(101 / 160, abs=0.01)
