"""Statistics over jobs: how many there are, and what became of the others."""

from lineshaft_contracts.envelope import Asking, Message, Value
from lineshaft_contracts.jobs import JobQuery
from lineshaft_contracts.registry import Kind, message
from lineshaft_contracts.topology import JOB_RUNNER_QUERIES


class Quantiles(Value):
    """Of a duration in seconds; None when nothing was measured."""

    p50: float | None = None
    p95: float | None = None
    p99: float | None = None


class JobTypeStats(Value):
    """What became of the jobs of one type that ended inside the window."""

    job_type: str
    counts: dict[str, int]
    """Ended jobs by final state."""
    success_rate: float | None
    """succeeded / (succeeded + failed + quarantined), 0 to 1; None when none ended."""
    run_seconds: Quantiles
    wait_seconds: Quantiles
    """From the moment it could have run to its start."""
    retries: int
    errors: dict[str, int]
    """Failed attempts by error code."""


class StatsWindow(Value):
    """Statistics of one look back."""

    seconds: int
    ended_per_minute: float
    types: tuple[JobTypeStats, ...]


@message("lineshaft.jobs.stats.v1", kind=Kind.REPLY, owner="job-runner")
class JobStats(Message):
    """Answer to GetJobStats."""

    counts: dict[str, int]
    """Jobs of the tenant now, by state."""
    by_type: dict[str, dict[str, int]]
    """The same by job type, then by state."""
    oldest_queued_seconds: float | None
    windows: dict[str, StatsWindow]
    """`5m`, `1h` and `24h`."""


@message(
    "lineshaft.jobs.get-stats.v1",
    kind=Kind.QUERY,
    owner="job-runner",
    exchange=JOB_RUNNER_QUERIES,
    durable=False,
)
class GetJobStats(JobQuery, Asking[JobStats]):
    """Statistics over the asking tenant's jobs."""
