"""Which backups remain: of each period one, counted over those that were verified."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st
from lineshaft_job_runner.types.backup.retention import PERIODS, Kept, plan
from lineshaft_job_runner.types.backup.sets import Keep

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def nightly(days: int, *, verified: bool = True) -> list[Kept]:
    return [
        Kept(backup_id=f"{day:04}", snapshot_at=NOW - timedelta(days=day), verified=verified)
        for day in range(days)
    ]


def kept(backups: list[Kept], keep: Keep, *, now: datetime = NOW) -> set[str]:
    deleted = plan(backups, keep, zone=BERLIN, now=now)
    return {backup.backup_id for backup in backups} - set(deleted)


def test_two_years_of_nights_become_days_weeks_months_and_years() -> None:
    found = kept(nightly(730), Keep(last=1, daily=7, weekly=4, monthly=6, yearly=2))
    days = sorted(int(backup_id) for backup_id in found)
    assert days[:7] == [0, 1, 2, 3, 4, 5, 6]
    assert len(days) == 7 + 2 + 5 + 1  # Periods share their newest backup with shorter ones.


def test_a_backup_that_was_not_verified_takes_nobodys_place() -> None:
    good = Kept(backup_id="good", snapshot_at=NOW - timedelta(days=40), verified=True)
    bad = nightly(30, verified=False)
    keep = Keep(last=1, daily=3, weekly=0, monthly=0)
    assert "good" in kept([good, *bad], keep)
    assert len(kept([good, *bad], keep)) == 31  # Nothing newer makes up for the bad ones.


def test_a_bad_backup_goes_after_a_week_when_there_is_a_newer_good_one() -> None:
    bad = [
        Kept(backup_id="old", snapshot_at=NOW - timedelta(days=8), verified=False),
        Kept(backup_id="recent", snapshot_at=NOW - timedelta(days=2), verified=False),
    ]
    good = Kept(backup_id="good", snapshot_at=NOW - timedelta(days=1), verified=True)
    assert kept([*bad, good], Keep()) == {"recent", "good"}


HISTORIES = st.lists(
    st.tuples(st.integers(0, 1_500 * 24), st.booleans()), max_size=60, unique_by=lambda b: b[0]
).map(
    lambda entries: [
        Kept(backup_id=f"{hours:06}", snapshot_at=NOW - timedelta(hours=hours), verified=verified)
        for hours, verified in entries
    ]
)
RULES = st.builds(
    Keep,
    last=st.integers(1, 4),
    daily=st.integers(0, 8),
    weekly=st.integers(0, 5),
    monthly=st.integers(0, 12),
    yearly=st.integers(0, 3),
)


@given(HISTORIES, RULES)
def test_the_newest_verified_backups_are_never_deleted(backups: list[Kept], keep: Keep) -> None:
    found = kept(backups, keep)
    verified = sorted((b for b in backups if b.verified), key=lambda b: b.snapshot_at)
    assert {b.backup_id for b in verified[-keep.last :]} <= found
    if not verified:
        assert len(found) == len(backups)


@given(HISTORIES, RULES)
def test_what_is_kept_does_not_depend_on_backups_that_cannot_be_restored(
    backups: list[Kept], keep: Keep
) -> None:
    good = [b for b in backups if b.verified]
    assert {b for b in kept(backups, keep) if b in {g.backup_id for g in good}} == kept(good, keep)


@given(HISTORIES, RULES)
def test_each_of_the_latest_periods_that_have_a_backup_keeps_its_newest(
    backups: list[Kept], keep: Keep
) -> None:
    found = kept(backups, keep)
    for name, period in PERIODS.items():
        newest: dict[object, Kept] = {}
        for backup in sorted((b for b in backups if b.verified), key=lambda b: b.snapshot_at):
            newest[period(backup.snapshot_at.astimezone(BERLIN))] = backup
        latest = sorted(newest.values(), key=lambda b: b.snapshot_at, reverse=True)
        assert {b.backup_id for b in latest[: getattr(keep, name)]} <= found


@given(HISTORIES, RULES)
def test_night_after_night_the_last_verified_backup_survives(
    backups: list[Kept], keep: Keep
) -> None:
    """Backups come one by one, and the rules are applied after each."""
    there: list[Kept] = []
    for backup in sorted(backups, key=lambda b: b.snapshot_at):
        there.append(backup)
        remaining = kept(there, keep, now=backup.snapshot_at)
        there = [b for b in there if b.backup_id in remaining]
        seen = [b for b in backups if b.verified and b.snapshot_at <= backup.snapshot_at]
        if seen:
            assert max(seen, key=lambda b: b.snapshot_at).backup_id in remaining
    assert all(a.snapshot_at < b.snapshot_at for a, b in pairwise(there))


@given(HISTORIES, RULES)
def test_applied_twice_the_rules_delete_nothing_more(backups: list[Kept], keep: Keep) -> None:
    remaining = [b for b in backups if b.backup_id in kept(backups, keep)]
    assert kept(remaining, keep) == {b.backup_id for b in remaining}
