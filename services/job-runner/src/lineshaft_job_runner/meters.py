"""Numbers about attempts; what one job needs of them is found once for its type."""

from functools import lru_cache

from lineshaft_common.metrics import BUCKETS
from prometheus_client import Counter, Gauge, Histogram

RUNNING = Gauge("lineshaft_jobs_running", "Attempts under way", ["type"])
ENDED = Counter("lineshaft_jobs_attempts_total", "Attempts by how they ended", ["type", "outcome"])
RUN_SECONDS = Histogram(
    "lineshaft_jobs_run_seconds", "Time of an attempt", ["type"], buckets=BUCKETS
)
WAIT_SECONDS = Histogram(
    "lineshaft_jobs_wait_seconds", "From ready to started", ["type"], buckets=BUCKETS
)
LEASES_LOST = Counter(
    "lineshaft_jobs_lease_lost_total", "Attempts ended because the lease was lost"
)
LOOP_BLOCKED = Gauge(
    "lineshaft_jobs_loop_blocked_seconds",
    "Longest time of the last minute in which a job did not let the event loop go on",
)
CHILDREN = Gauge("lineshaft_jobs_children", "Child processes that are alive")
KILLED = Counter("lineshaft_jobs_children_killed_total", "Child processes killed", ["reason"])


class Meters:
    """The numbers of one type. To look labels up costs more than to count."""

    def __init__(self, job_type: str) -> None:
        self._type = job_type
        self._ended: dict[str, Counter] = {}
        self._running = RUNNING.labels(job_type)
        self._run_seconds = RUN_SECONDS.labels(job_type)
        self._wait_seconds = WAIT_SECONDS.labels(job_type)

    def started(self, waited_seconds: float) -> None:
        """Count an attempt that begins."""
        self._wait_seconds.observe(waited_seconds)
        self._running.inc()

    def ended(self, state: str, run_seconds: float) -> None:
        """Count an attempt that has ended."""
        self._running.dec()
        self._run_seconds.observe(run_seconds)
        counter = self._ended.get(state)
        if counter is None:
            counter = self._ended[state] = ENDED.labels(self._type, state)
        counter.inc()


@lru_cache(maxsize=1_000)
def of_type(job_type: str) -> Meters:
    """Return the numbers of a type."""
    return Meters(job_type)
