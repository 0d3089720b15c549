"""When a failed attempt is followed by another one."""

import random
from datetime import timedelta

from lineshaft_contracts.jobs import JobError

FIRST_SECONDS = 1.0
FACTOR = 3.0
SECONDS_MAX = 600.0


def retry_in(
    error: JobError, *, attempt: int, attempts_max: int, jitter: float | None = None
) -> timedelta | None:
    """Return the wait before the next attempt, or None when the job has failed for good.

    Exponential with full jitter over the upper half: 0.5-1 s, 1.5-3 s, 4.5-9 s, ... up to ten
    minutes, so that jobs that failed together do not come back together.
    """
    if not error.retryable or attempt >= attempts_max:
        return None
    ceiling = min(SECONDS_MAX, FIRST_SECONDS * FACTOR ** (attempt - 1))
    share = random.random() if jitter is None else jitter
    return timedelta(seconds=ceiling * (0.5 + share / 2))
