"""When a failed attempt is followed by another one."""

import random
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from lineshaft_contracts.jobs import JobError

from lineshaft_job_runner.job_type import JobType


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """Exponential back-off: `first_seconds`, then `factor` times more, up to `seconds_max`.

    The last `jitter` of each wait is random, so that jobs that failed together do not come back
    together; 1 is full jitter.
    """

    first_seconds: float = JobType.retry_first_seconds
    factor: float = JobType.retry_factor
    seconds_max: float = JobType.retry_seconds_max
    jitter: float = JobType.retry_jitter

    @classmethod
    def of(cls, job_type: JobType[Any, Any]) -> "RetryPolicy":
        """Read it from the class variables of a job type."""
        return cls(
            first_seconds=job_type.retry_first_seconds,
            factor=job_type.retry_factor,
            seconds_max=job_type.retry_seconds_max,
            jitter=job_type.retry_jitter,
        )

    def wait_seconds(self, attempt: int, *, chance: float) -> float:
        """Return the wait after an attempt; `chance` in [0, 1) is the draw of the jitter."""
        try:
            ceiling = min(self.seconds_max, self.first_seconds * self.factor ** (attempt - 1))
        except OverflowError:
            ceiling = self.seconds_max
        return max(0.0, ceiling * (1 - self.jitter * (1 - chance)))


DEFAULT = RetryPolicy()


def retry_in(
    error: JobError,
    *,
    attempt: int,
    attempts_max: int,
    policy: RetryPolicy = DEFAULT,
    jitter: float | None = None,
) -> timedelta | None:
    """Return the wait before the next attempt, or None when the job has failed for good.

    With the default policy up to 1 s, 3 s, 9 s, ... ten minutes. `jitter` in [0, 1)
    takes the place of chance.
    """
    if not error.retryable or attempt >= attempts_max:
        return None
    chance = random.random() if jitter is None else jitter
    return timedelta(seconds=policy.wait_seconds(attempt, chance=chance))
