"""Which backups of a set remain: grandfather, father, son over verified backups alone."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from lineshaft_job_runner.types.backup.sets import Keep

UNVERIFIED_KEPT = timedelta(days=7)
"""For looking into what went wrong; never the only backup there is, see `plan`."""

Period = Callable[[datetime], object]

PERIODS: dict[str, Period] = {
    "daily": lambda at: at.date(),
    "weekly": lambda at: at.isocalendar()[:2],
    "monthly": lambda at: (at.year, at.month),
    "yearly": lambda at: at.year,
}


@dataclass(frozen=True, kw_only=True)
class Kept:
    """A backup, as far as retention cares."""

    backup_id: str
    snapshot_at: datetime
    verified: bool


def plan(backups: Iterable[Kept], keep: Keep, *, zone: ZoneInfo, now: datetime) -> list[str]:
    """Return the ids of the backups to delete.

    Only verified ones fill the places of `keep`, so one that cannot be restored never pushes a
    good one out; the newest verified one is never deleted. One that is not verified goes when a
    verified one that is newer makes up for it, and after a week.
    """
    newest_first = sorted(backups, key=lambda b: (b.snapshot_at, b.backup_id), reverse=True)
    verified = [backup for backup in newest_first if backup.verified]
    if not verified:
        return []
    kept = {backup.backup_id for backup in verified[: keep.last]}
    for name, period in PERIODS.items():
        kept |= _newest_of_each(verified, period, getattr(keep, name), zone)
    newest = verified[0].snapshot_at
    for backup in newest_first:
        recent = now - backup.snapshot_at < UNVERIFIED_KEPT
        if not backup.verified and (recent or backup.snapshot_at >= newest):
            kept.add(backup.backup_id)
    return [backup.backup_id for backup in newest_first if backup.backup_id not in kept]


def _newest_of_each(
    verified: Sequence[Kept], period: Period, periods_max: int, zone: ZoneInfo
) -> set[str]:
    found: dict[object, str] = {}
    for backup in verified:
        if len(found) >= periods_max:
            break
        found.setdefault(period(backup.snapshot_at.astimezone(zone)), backup.backup_id)
    return set(found.values())
