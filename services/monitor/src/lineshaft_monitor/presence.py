"""Who is up: processes are known by their reports, and missed by the absence of two."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from lineshaft_contracts.monitoring import ServiceHealth, ServiceState
from lineshaft_contracts.telemetry import ServiceReported

MISSED_REPORTS = 2
GRACE_SECONDS = 1.0
"""On the way from a process to here."""
STOPPED_KEPT_SECONDS = 3_600
DOWN_KEPT_SECONDS = 7 * 86_400
ALIVE = frozenset({ServiceState.UP, ServiceState.DEGRADED})


@dataclass(frozen=True, kw_only=True)
class Process:
    """What is known of one process."""

    service: str
    instance: str
    region: str | None
    version: str
    state: ServiceState
    since: datetime
    last_report_at: datetime
    interval_seconds: float
    checks: dict[str, str] = field(default_factory=dict[str, str])
    up_seconds: float = 0.0
    down_seconds: float = 0.0
    first_report_at: datetime | None = None
    """None when that was before our time, or once it took the place of a process that is gone."""

    @property
    def source(self) -> str:
        """Its name as a source of samples."""
        return f"{self.service}/{self.instance}"

    @property
    def labels(self) -> dict[str, str]:
        """What its series are labelled with."""
        labels = {"service": self.service, "instance": self.instance}
        return labels if self.region is None else {**labels, "region": self.region}

    def into(self, state: ServiceState, at: datetime) -> "Process":
        """Change state; `since` stays when it is the same."""
        return self if state is self.state else replace(self, state=state, since=at)

    @property
    def uptime_ratio(self) -> float | None:
        """Share of the known time that it worked; stopped and unknown time does not count."""
        known = self.up_seconds + self.down_seconds
        return self.up_seconds / known if known > 0 else None

    def health(self) -> ServiceHealth:
        """Show it to whoever asks."""
        return ServiceHealth(
            service=self.service,
            instance=self.instance,
            region=self.region,
            version=self.version,
            state=self.state,
            since=self.since,
            last_report_at=self.last_report_at,
            checks=self.checks,
            uptime_ratio=self.uptime_ratio,
        )


class Presence:
    """Keeps the state of every process. `now` is given, so that time can be played in tests."""

    def __init__(self, *, started_at: datetime) -> None:
        self._processes: dict[tuple[str, str], Process] = {}
        self._hears_since = started_at
        self._deaf = False
        self._counted_at = started_at
        self._stopped: list[Process] = []

    def load(self, processes: Iterable[Process]) -> None:
        """Begin with who was there before the monitor was; unknown until heard or missed."""
        for process in processes:
            self._processes[process.service, process.instance] = (
                process
                if _stopped(process)
                else process.into(ServiceState.UNKNOWN, self._hears_since)
            )

    def __iter__(self) -> Iterator[Process]:
        return iter(sorted(self._processes.values(), key=lambda p: (p.service, p.source)))

    def of(self, service: str) -> list[Process]:
        """List the processes of one service."""
        return [process for process in self if process.service == service]

    def heard(self, report: ServiceReported, at: datetime) -> None:
        """Take a report; one older than the last is ignored."""
        key = (report.service, report.instance)
        known = self._processes.get(key)
        if known is not None and at < known.last_report_at:
            return
        state = ServiceState.UP if report.ready else ServiceState.DEGRADED
        state = ServiceState.STOPPED if report.stopping else state
        process = known or Process(
            service=report.service,
            instance=report.instance,
            region=report.region,
            version=report.version,
            state=state,
            since=at,
            last_report_at=at,
            interval_seconds=report.interval_seconds,
            first_report_at=at,
        )
        self._processes[key] = replace(
            process.into(state, at),
            region=report.region,
            version=report.version,
            last_report_at=at,
            interval_seconds=report.interval_seconds,
            checks=dict(report.checks),
        )
        if report.stopping:
            self._stopped.append(self._processes[key])

    def _is_replaced(self, lost: Process) -> bool:
        """Whether a process that came later took the place of this one; each takes one place."""
        for key, fresh in self._processes.items():
            same = (fresh.service, fresh.region) == (lost.service, lost.region)
            first = fresh.first_report_at
            later = first is not None and first > lost.last_report_at
            if same and later and fresh.state in ALIVE and fresh.instance != lost.instance:
                self._processes[key] = replace(fresh, first_report_at=None)
                return True
        return False

    def deaf(self, now: datetime, *, deaf: bool) -> None:
        """Say whether reports can arrive at all; while they cannot, nobody is called down."""
        if self._deaf and not deaf:
            self._hears_since = now
        self._deaf = deaf

    def check(self, now: datetime) -> list[Process]:
        """Notice who is missed, count up and down time; return who has left or is given up."""
        elapsed = max(0.0, (now - self._counted_at) / timedelta(seconds=1))
        self._counted_at = now
        forgotten, self._stopped = self._stopped, []
        for key, process in self._processes.items():
            self._processes[key] = self._counted(self._missed(process, now), elapsed)
        for key, process in list(self._processes.items()):
            kept = STOPPED_KEPT_SECONDS if _stopped(process) else DOWN_KEPT_SECONDS
            silent = (now - process.last_report_at) / timedelta(seconds=1)
            gone = process.state in {ServiceState.STOPPED, ServiceState.DOWN}
            if gone and (silent > kept or self._is_replaced(process)):
                del self._processes[key]
                forgotten.append(process)
        return forgotten

    def _missed(self, process: Process, now: datetime) -> Process:
        if _stopped(process):
            return process
        if self._deaf:
            return process.into(ServiceState.UNKNOWN, now)
        patience = timedelta(seconds=MISSED_REPORTS * process.interval_seconds + GRACE_SECONDS)
        if now - max(process.last_report_at, self._hears_since) > patience:
            return process.into(ServiceState.DOWN, now)
        return process

    @staticmethod
    def _counted(process: Process, elapsed: float) -> Process:
        if process.state in ALIVE:
            return replace(process, up_seconds=process.up_seconds + elapsed)
        if process.state is ServiceState.DOWN:
            return replace(process, down_seconds=process.down_seconds + elapsed)
        return process


def _stopped(process: Process) -> bool:
    return process.state is ServiceState.STOPPED
