"""What the id of a job tells: when it was made, so that little of the history is looked at."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

SLACK = timedelta(days=1)
"""How far the clock of who made an id may be ahead of the database's."""
_UNKNOWN = datetime.fromtimestamp(0, UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def made_at(job_id: UUID) -> float | None:
    """Return the time in an id in seconds since the epoch; None when it tells none (UUIDv7 do)."""
    return (job_id.int >> 80) / 1000 if job_id.version == 7 else None


def born(job_id: UUID) -> datetime:
    """Return a time before which nothing of a job can have been.

    That is so because the store takes no job whose id was made more than SLACK in its future.
    """
    made = made_at(job_id)
    if made is None:
        return _UNKNOWN
    return max(_UNKNOWN, datetime.fromtimestamp(min(made, _LATEST), UTC) - SLACK)
