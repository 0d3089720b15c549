"""What the id of a job tells: when it was made, so that little of the history is looked at."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

SLACK = timedelta(days=1)
"""How far the clock of who made an id may be ahead of the database's."""


def born(job_id: UUID) -> datetime:
    """Return when an id was made, if it says so (UUIDv7); nothing of it can be older."""
    if job_id.version != 7:
        return datetime.fromtimestamp(0, UTC)
    return datetime.fromtimestamp((job_id.int >> 80) / 1000, UTC) - SLACK
