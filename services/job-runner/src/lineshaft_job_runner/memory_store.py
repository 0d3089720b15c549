"""A store in memory that runs jobs in a test without a server, and fails when it is told to."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from lineshaft_common.objects import Objects
from lineshaft_contracts.envelope import Priority, uuid7

from lineshaft_job_runner import storable
from lineshaft_job_runner.asking import EngineAwayError
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.execution import Executor
from lineshaft_job_runner.in_loop import LoopExecutor
from lineshaft_job_runner.job import ClaimedJob, Outcome, ProgressUpdate, StoredArtifact
from lineshaft_job_runner.job_type import Isolation
from lineshaft_job_runner.large_parameters import LargeParameters
from lineshaft_job_runner.runner import Runner
from lineshaft_job_runner.source_access import DataAccess
from lineshaft_job_runner.sources import SourcesFile

END_SECONDS_MAX = 20.0


def claimed_job(job_type: str = "trial.do", **changes: Any) -> ClaimedJob:
    """Make a job as if it was just claimed."""
    job = ClaimedJob(
        id=uuid7(),
        tenant="acme",
        type=job_type,
        priority=Priority.NORMAL,
        parameters={},
        attempt=1,
        attempts_max=3,
        timeout_seconds=10,
        lease_token=uuid4(),
        traceparent=None,
        waited_seconds=0,
    )
    return replace(job, **changes)


def _refuses_nothing(_: ProgressUpdate | Outcome) -> bool:
    return False


@dataclass
class MemoryStore:
    """Hands out jobs once, and remembers ends; it serves as the store of leases as well."""

    jobs: list[ClaimedJob] = field(default_factory=list[ClaimedJob])
    ends: dict[UUID, Outcome] = field(default_factory=dict[UUID, Outcome])
    """By lease token."""
    calls: list[str] = field(default_factory=list[str])
    told: dict[UUID, ProgressUpdate] = field(default_factory=dict[UUID, ProgressUpdate])
    """The latest update by lease token."""
    checkpoints: dict[UUID, dict[str, Any]] = field(default_factory=dict[UUID, dict[str, Any]])
    """By lease token."""
    taken: set[UUID] = field(default_factory=set[UUID])
    """Lease tokens that are not current any more."""
    cancelled: set[UUID] = field(default_factory=set[UUID])
    failures: list[Exception] = field(default_factory=list[Exception])
    """What the next calls of `finish` raise."""
    records: dict[UUID, dict[str, dict[str, Any]]] = field(
        default_factory=lambda: defaultdict[UUID, dict[str, dict[str, Any]]](dict)
    )
    """By job."""
    cut_off: bool = False
    """Whether no lease can be extended."""
    refuses: Callable[[Any], bool] = _refuses_nothing
    refusal: Exception = field(default_factory=ValueError)
    """What is raised about an update or outcome that it refuses."""

    async def claim(
        self, types: Sequence[str], *, limit: int, lease_seconds: float
    ) -> list[ClaimedJob]:
        """Give what is there."""
        given = [job for job in self.jobs if job.type in types][:limit]
        self.jobs = [job for job in self.jobs if job not in given]
        return given

    async def heartbeat(
        self, updates: Sequence[ProgressUpdate], *, lease_seconds: float
    ) -> dict[UUID, bool]:
        """Remember the news."""
        self.calls.append("heartbeat")
        if self.cut_off:
            raise ConnectionError
        if any(self.refuses(update) for update in updates):
            raise self.refusal
        for update in updates:
            token = update.job.lease_token
            if token in self.taken:
                continue
            self.told[token] = update
            if update.checkpoint is not None:
                self.checkpoints[token] = update.checkpoint
        tokens = {u.job.lease_token for u in updates} - self.taken
        return {token: token in self.cancelled for token in tokens}

    async def finish(self, outcomes: Sequence[Outcome]) -> set[UUID]:
        """Remember the ends."""
        if self.failures:
            raise self.failures.pop(0)
        if any(self.refuses(outcome) for outcome in outcomes):
            raise self.refusal
        self.ends |= {o.job.lease_token: o for o in outcomes}
        return {o.job.lease_token for o in outcomes}

    async def record(self, job: ClaimedJob, entries: Mapping[str, dict[str, Any]]) -> bool:
        """Remember entries, unless the lease is lost."""
        if self.cut_off:
            raise EngineAwayError
        if job.lease_token in self.taken:
            return False
        self.records[job.id] |= entries
        return True

    async def recorded(self, job: ClaimedJob, *, after: str) -> dict[str, dict[str, Any]]:
        """Give a page of entries."""
        entries = sorted(item for item in self.records[job.id].items() if item[0] > after)
        return dict(entries[: storable.RECORDS_AT_ONCE])

    async def find_artifact(
        self, job: ClaimedJob, job_id: UUID, name: str
    ) -> StoredArtifact | None:
        """Find an artifact of an end."""
        for end in self.ends.values():
            if (end.job.id, end.job.tenant) == (job_id, job.tenant):
                return next((s for s in end.artifacts if s.artifact.name == name), None)
        return None

    async def promote(self) -> int:
        """Nothing becomes due."""
        return 0

    async def expire(self) -> int:
        """Nothing waits beyond its deadline."""
        return 0

    async def catch_up(self) -> int:
        """Nothing is cancelled before it came."""
        return 0

    async def rescue(self) -> int:
        """Nothing is lost."""
        self.calls.append("rescue")
        return 0

    async def end_of(self, job: ClaimedJob) -> Outcome:
        """Wait for the end of an attempt."""
        async with asyncio.timeout(END_SECONDS_MAX):
            while job.lease_token not in self.ends:  # noqa: ASYNC110 - bounded, and only in tests.
                await asyncio.sleep(0.01)
        return self.ends[job.lease_token]


def no_data() -> DataAccess:
    """Return the access to no data source at all."""

    def unknown(file: SourcesFile, name: str, *, tenant: str) -> Any:
        return file.entry(name, tenant=tenant)  # Raises, for the file is empty.

    return DataAccess(SourcesFile(), open_source=unknown, open_target=unknown)


@asynccontextmanager
async def memory_runner(
    store: MemoryStore,
    catalogue: Catalogue,
    folder: Path,
    *,
    places: int = 10,
    lease_seconds: float = 0.3,
    executors: Mapping[Isolation, Executor] | None = None,
) -> AsyncGenerator[Runner]:
    """Run what the store hands out, in the loop or by other executors; artifacts in `folder`."""

    @asynccontextmanager
    async def open_leases() -> AsyncGenerator[MemoryStore]:
        yield store

    objects = Objects(folder.as_uri())
    in_loop = LoopExecutor(
        places=places,
        objects=objects,
        data=no_data(),
        types=catalogue,
        engine=store,
        grace_seconds=0.1,
    )
    async with Runner(
        store,
        catalogue,
        {Isolation.LOOP: in_loop} if executors is None else executors,
        LargeParameters(objects),
        open_leases=open_leases,
        lease_seconds=lease_seconds,
        stop_grace_seconds=0.1,
    ) as runner:
        yield runner
