"""What the id of a job tells: when it was made, so that little of the history is looked at."""

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

SLACK = timedelta(days=1)
"""How far the clock of who made an id may be ahead of the database's."""
_UNKNOWN = datetime.fromtimestamp(0, UTC)


def made_at(job_id: UUID) -> float | None:
    """Return the time in an id in seconds since the epoch; None when it tells none (UUIDv7 do)."""
    return (job_id.int >> 80) / 1000 if job_id.version == 7 else None


def is_from_the_future(job_id: UUID) -> bool:
    """Whether an id cannot have been made yet."""
    made = made_at(job_id)
    return made is not None and made > time.time() + SLACK.total_seconds()


def born(job_id: UUID) -> datetime:
    """Return when an id was made, if that can be believed; nothing of it can be older."""
    made = made_at(job_id)
    if made is None or is_from_the_future(job_id):
        return _UNKNOWN
    return datetime.fromtimestamp(made, UTC) - SLACK
