"""A gateway on a bus in memory, with a job-runner and a monitor that answer from memory."""

from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer
from lineshaft_common.health import Health
from lineshaft_common.messaging.bus import answers
from lineshaft_common.testing import MemoryBus
from lineshaft_contracts import topology
from lineshaft_contracts.envelope import Envelope, Priority
from lineshaft_contracts.job_catalogue import JobTypes, JobTypeView, ListJobTypes
from lineshaft_contracts.job_statistics import GetJobStats, JobStats
from lineshaft_contracts.jobs import (
    Artifact,
    ArtifactFound,
    CancelAccepted,
    CancelJob,
    FindArtifact,
    GetJob,
    JobAccepted,
    JobFound,
    JobPage,
    JobsAccepted,
    JobState,
    JobSubmission,
    JobSummary,
    JobView,
    ListJobs,
    Progress,
    SubmissionResult,
    SubmitJob,
    SubmitJobs,
)
from lineshaft_contracts.problems import FieldProblem, Problem, ProblemError
from lineshaft_gateway import keys
from lineshaft_gateway.keys import ADMIN, ALL_SCOPES, ApiKey, Scope
from lineshaft_gateway.live import LiveLog, Position
from lineshaft_gateway.routes import create_app
from lineshaft_gateway.settings import GatewaySettings

from .steering import Steering


@dataclass
class MemoryKeys:
    """A KeyStore in memory."""

    kept: dict[str, ApiKey] = field(default_factory=dict[str, ApiKey])
    lookups: int = 0
    away: bool = False

    async def find(self, prefix: str) -> ApiKey | None:
        if self.away:
            raise ConnectionRefusedError("database is away")
        self.lookups += 1
        return self.kept.get(prefix)

    async def add(self, key: ApiKey) -> None:
        self.kept[key.prefix] = key

    async def list_of(self, tenant: str) -> list[ApiKey]:
        return [key for key in self.kept.values() if key.tenant == tenant]

    async def revoke(self, prefix: str, tenant: str) -> tuple[str, ...]:
        key = self.kept.get(prefix)
        if key is None or key.tenant != tenant:
            return ()
        void = [prefix]
        for one in void:
            self.kept[one] = replace(self.kept[one], revoked_at=datetime.now(UTC))
            void += [made.prefix for made in self.kept.values() if made.created_by == one]
        return tuple(void)

    async def revoke_admin_keys(self, *, but: str) -> int:
        void = [
            key
            for key in self.kept.values()
            if key.created_by is None
            and key.name == ADMIN
            and key.prefix != but
            and key.revoked_at is None
        ]
        for key in void:
            self.kept[key.prefix] = replace(key, revoked_at=datetime.now(UTC))
        return len(void)

    async def any_valid(self) -> bool:
        return any(key.is_valid(datetime.now(UTC)) for key in self.kept.values())


@dataclass
class MemoryPositions:
    """A PositionStore in memory."""

    position: Position = field(
        default_factory=lambda: Position(epoch="0000aaaa", offset=-1, event_id=None)
    )

    async def load(self, log: str, *, new_epoch: str) -> Position:
        return self.position

    async def advance(self, log: str, position: Position) -> None:
        self.position = position

    async def renew(self, log: str, *, old_epoch: str, new_epoch: str) -> str:
        self.position = Position(epoch=new_epoch, offset=-1)
        return new_epoch


@dataclass
class MemoryRunner:
    """A job-runner that only keeps jobs; each belongs to the tenant that submitted it."""

    jobs: dict[Any, JobView] = field(default_factory=dict[Any, JobView])
    by_key: dict[Any, JobView] = field(default_factory=dict[Any, JobView])
    artifacts: dict[str, ArtifactFound] = field(default_factory=dict[str, ArtifactFound])
    asked: list[str] = field(default_factory=list[str])
    types: tuple[str, ...] = ("report.generate", "acme.custom")
    refuses_batches: Exception | None = None
    steering: Steering = field(default_factory=Steering)

    async def submit(self, command: Envelope[SubmitJob]) -> JobAccepted:
        return self._accept(command.data, command, command.priority)

    async def submit_many(self, command: Envelope[SubmitJobs]) -> JobsAccepted:
        if self.refuses_batches is not None:
            raise self.refuses_batches
        results: list[SubmissionResult] = []
        for one in command.data.jobs:
            if one.after and not set(one.after) <= set(self.jobs):
                missing = FieldProblem(pointer="/after/0", code="job_not_found", message="no job")
                problem = Problem(code="invalid_input", title="No", status=422, errors=(missing,))
                results.append(SubmissionResult(job_id=one.job_id, problem=problem))
            else:
                accepted = self._accept(one, command, one.priority)
                results.append(SubmissionResult(job_id=accepted.job.id, created=accepted.created))
        return JobsAccepted(results=tuple(results))

    def _accept(
        self, data: JobSubmission, command: Envelope[Any], priority: Priority
    ) -> JobAccepted:
        key = (command.tenant, data.job_type, data.idempotency_key)
        if data.idempotency_key is not None and key in self.by_key:
            return JobAccepted(job=self.by_key[key], created=False)
        job = JobView(
            id=data.job_id,
            type=data.job_type,
            state=JobState.QUEUED,
            tenant=command.tenant,
            priority=Priority(priority),
            parameters=data.parameters,
            attempt=0,
            attempts_max=data.attempts_max or 3,
            progress=Progress(),
            idempotency_key=data.idempotency_key,
            unique_key=data.unique_key,
            order_key=data.order_key,
            limit_key=data.limit_key,
            after=data.after,
            deadline_at=data.deadline_at,
            submitted_at=command.time,
            run_at=data.run_at,
        )
        self.jobs[job.id] = self.by_key[key] = job
        return JobAccepted(job=job, created=True)

    def _own(self, question: Envelope[Any]) -> JobView:
        self.asked.append(question.type)
        job = self.jobs.get(question.data.job_id)
        if job is None or job.tenant != question.tenant:
            raise ProblemError(Problem(code="job_not_found", title="No such job", status=404))
        return job

    async def get(self, question: Envelope[GetJob]) -> JobFound:
        return JobFound(job=self._own(question))

    async def cancel(self, command: Envelope[CancelJob]) -> CancelAccepted:
        return CancelAccepted(job=self._own(command))

    async def list_page(self, question: Envelope[ListJobs]) -> JobPage:
        wanted = question.data
        own = [
            JobSummary.model_validate(job.model_dump())
            for job in self.jobs.values()
            if job.tenant == question.tenant
            and (not wanted.states or job.state in wanted.states)
            and wanted.job_type in {None, job.type}
            and wanted.order_key in {None, job.order_key}
            and wanted.idempotency_key in {None, job.idempotency_key}
            and wanted.parent_id in {None, job.parent_id}
        ]
        return JobPage(jobs=tuple(own[: wanted.limit]))

    async def stats(self, question: Envelope[GetJobStats]) -> JobStats:
        own = [job for job in self.jobs.values() if job.tenant == question.tenant]
        return JobStats(
            counts={"queued": len(own)}, by_type={}, oldest_queued_seconds=None, windows={}
        )

    async def job_types(self, question: Envelope[ListJobTypes]) -> JobTypes:
        self.asked.append(question.type)
        return JobTypes(job_types=tuple(_view(name) for name in self.types))

    async def find_artifact(self, question: Envelope[FindArtifact]) -> ArtifactFound:
        self._own(question)
        found = self.artifacts.get(question.data.name)
        if found is None:
            raise ProblemError(
                Problem(code="artifact_not_found", title="No such artifact", status=404)
            )
        return found


def _view(name: str) -> JobTypeView:
    return JobTypeView(
        name=name,
        title=name,
        description="",
        parameters_schema={},
        result_schema={},
        example={},
        timeout_seconds=60,
        attempts_max=3,
        memory_bytes_max=None,
        isolation="loop",
    )


@dataclass
class World:
    """Everything that a test of the gateway holds in its hands."""

    bus: MemoryBus
    key_store: MemoryKeys
    positions: MemoryPositions
    live: LiveLog
    client: TestClient[Any, Any]
    runner: MemoryRunner
    settings: GatewaySettings
    objects: Path
    stack: AsyncExitStack

    def key(self, tenant: str = "acme", *scopes: Scope, **given: Any) -> dict[str, str]:
        """Make a key and write the header that carries it; all scopes when none are given."""
        key, text = keys.make(
            tenant=tenant, name="test", scopes=frozenset(scopes or ALL_SCOPES), **given
        )
        self.key_store.kept[key.prefix] = key
        return {"Authorization": f"Bearer {text}"}

    async def run_jobs(self) -> None:
        """Bring the job-runner up."""
        runner = self.runner
        enter = self.stack.enter_async_context
        await enter(
            self.bus.serve(
                topology.JOB_RUNNER_SUBMIT,
                answers(SubmitJob, runner.submit),
                answers(SubmitJobs, runner.submit_many),
            )
        )
        await enter(self.bus.serve(topology.JOB_RUNNER_CANCEL, answers(CancelJob, runner.cancel)))
        await enter(
            self.bus.serve(
                topology.JOB_RUNNER_ASKED,
                answers(GetJob, runner.get),
                answers(ListJobs, runner.list_page),
                answers(GetJobStats, runner.stats),
                answers(ListJobTypes, runner.job_types),
                answers(FindArtifact, runner.find_artifact),
                *runner.steering.answers(),
            )
        )

    def keep_artifact(self, name: str, content: bytes, sha256: str = "ab" * 32) -> None:
        """Put a file where the job-runner would have put it."""
        path = self.objects / "artifacts" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.runner.artifacts[name] = ArtifactFound(
            artifact=Artifact(name=name, media_type="text/csv", bytes=len(content), sha256=sha256),
            object_key=f"artifacts/{name}",
        )


@asynccontextmanager
async def world_of(directory: Path, **given: Any) -> AsyncGenerator[World]:
    """Serve a gateway; `given` overrides settings, and may bring a bus and positions along."""
    bus = given.pop("bus", None) or MemoryBus()
    positions = given.pop("positions", None) or MemoryPositions()
    settings = GatewaySettings.model_validate(
        {
            "amqp_url": "amqp://localhost/",
            "postgres_url": "postgresql://localhost/none",
            "object_store_url": directory.as_uri(),
            "heartbeat_seconds": 0.2,
            **given,
        }
    )
    key_store = MemoryKeys()
    async with AsyncExitStack() as stack:
        live = await stack.enter_async_context(LiveLog(bus, positions, settings.ring()))
        health = Health({"broker": bus.check})
        app = create_app(settings, bus=bus, live=live, keys=key_store, health=health)
        client = await stack.enter_async_context(TestClient(TestServer(app)))
        yield World(
            bus=bus,
            key_store=key_store,
            positions=positions,
            live=live,
            client=client,
            runner=MemoryRunner(),
            settings=settings,
            objects=directory,
            stack=stack,
        )


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World]:
    async with world_of(tmp_path) as one:
        yield one


MakeWorld = Callable[..., Any]


@pytest.fixture
def make_world(tmp_path: Path) -> MakeWorld:
    def make(**given: Any) -> Any:
        return world_of(tmp_path, **given)

    return make


async def problem(response: Any, status: int, code: str) -> dict[str, Any]:
    """Hold a response against the problem that it should be; returns its body."""
    body = await response.json(content_type="application/problem+json")
    assert (response.status, body["code"]) == (status, code), body
    assert body["status"] == status
    assert body["type"].endswith(code)
    assert response.headers["X-Request-Id"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    return body


def pointers(body: dict[str, Any]) -> list[str]:
    return [error["pointer"] for error in body["errors"]]
