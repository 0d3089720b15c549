"""Which types are served, by whom, and what is known of jobs that nobody serves."""

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import Any, ClassVar, Protocol
from uuid import UUID

import pytest
from lineshaft_common import metrics
from lineshaft_contracts.job_catalogue import JobTypeView
from lineshaft_contracts.job_work import WorkOutcome
from lineshaft_contracts.jobs import JobState, JobView
from lineshaft_contracts.problems import ProblemError
from lineshaft_job_runner import serving
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.job_type import Isolation, JobContext, JobType
from lineshaft_job_runner.served_types import ServedTypes
from lineshaft_job_runner.store.served_types import (
    COUNTED_MAX,
    GROUPS_MAX,
    UNSERVED,
    ServedTypeStore,
)
from lineshaft_job_runner.unserved import OTHERS, TYPES_MAX, UnservedJobs
from pydantic import BaseModel

EXPIRE = "UPDATE served_types SET until = now() - interval '1 second' WHERE worker = $1"


class Platform(Protocol):
    pool: Any

    def engine(self, **changes: Any) -> Any: ...
    def worker(self, name: str = "labels-1") -> Any: ...
    async def submit(self, job_type: str = "label.print", **more: Any) -> UUID: ...
    async def job(self, job_id: UUID) -> JobView: ...
    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...
    async def types(self) -> dict[str, JobTypeView]: ...


def unserved(job_type: str) -> float | None:
    """What the monitor is told."""
    wanted = ("lineshaft_jobs_unserved", {"type": job_type})
    return next((s.value for s in metrics.samples() if (s.name, s.labels) == wanted), None)


def view(name: str, **more: Any) -> JobTypeView:
    values: dict[str, Any] = {
        "name": name,
        "title": "Print labels",
        "description": "",
        "parameters_schema": {},
        "result_schema": {},
        "example": {},
        "timeout_seconds": 60.0,
        "attempts_max": 7,
        "memory_bytes_max": None,
        "isolation": "remote",
    }
    return JobTypeView.model_validate(values | more)


class ListedTypes:
    """A registry that counts how often it is asked."""

    def __init__(self, *views: JobTypeView) -> None:
        self.listed = list(views)
        self.asked = 0

    async def views(self) -> list[JobTypeView]:
        self.asked += 1
        return self.listed


async def test_what_another_worker_serves_is_known_and_the_store_is_rarely_asked() -> None:
    registry = ListedTypes(view("label.print"))
    served = ServedTypes(registry, Catalogue([]))
    found = await asyncio.gather(*(served.find("label.print") for _ in range(100)))
    assert all(f == view("label.print") for f in found)
    assert not any([await served.find(f"unknown.type-{number}") for number in range(100)])
    assert registry.asked == 1
    registry.listed.append(view("tool.sharpen"))
    served.changed()
    assert await served.find("tool.sharpen") is not None


def test_the_gauge_ends_at_zero_and_holds_a_bounded_number_of_types() -> None:
    jobs = UnservedJobs()
    jobs.show({f"gauge.type-{number}": 100 - number for number in range(TYPES_MAX + 2)})
    assert unserved("gauge.type-0") == 100
    assert unserved(f"gauge.type-{TYPES_MAX}") is None
    assert unserved(OTHERS) == 50 + 49
    jobs.show({"gauge.type-1": 5})
    assert (unserved("gauge.type-0"), unserved("gauge.type-1"), unserved(OTHERS)) == (0, 5, 0)
    jobs.show({})
    assert (unserved("gauge.type-0"), unserved("gauge.type-1")) == (None, 0)


@pytest.mark.integration
async def test_clients_see_the_types_of_every_live_worker(platform: Platform) -> None:
    schema = {"type": "object", "required": ["material_lot_id"]}
    async with platform.engine():
        own = await platform.types()
        assert own["report.generate"].isolation == "process"
        until = (await platform.worker().offer(parameters_schema=schema, attempts_max=7)).until
        assert until.tzinfo is not None
        found = await platform.types()
        assert found.keys() - own.keys() == {"label.print"}
        offered = found["label.print"]
        assert (offered.isolation, offered.attempts_max) == ("remote", 7)
        assert offered.parameters_schema == schema
        await platform.pool.execute(EXPIRE, "labels-1")
        async with asyncio.timeout(10):
            while "label.print" in await platform.types():
                await asyncio.sleep(0.2)


@pytest.mark.integration
async def test_what_clients_see_of_a_type_is_the_newest_offer(platform: Platform) -> None:
    registry = ServedTypeStore(platform.pool)
    await registry.offer("old", [view("label.print", title="Old")])
    await registry.offer("new", [view("label.print", title="New")])
    await registry.offer("old", [view("label.print", title="Old")])
    assert [v.title for v in await registry.views()] == ["New"]
    await registry.announce("runner", [view("label.print", title="Own")])
    assert [v.title for v in await registry.views()] == ["Own"]
    assert await registry.offered("old") == frozenset()
    await registry.withdraw("runner")
    assert await registry.views() == []


@pytest.mark.integration
async def test_a_type_of_a_job_runner_cannot_be_offered_over_amqp(platform: Platform) -> None:
    async with platform.engine():
        with pytest.raises(ProblemError) as refused:
            await platform.worker().offer("report.generate")
        assert refused.value.problem.code == "job_type_built_in"
        with pytest.raises(ProblemError) as refused:
            await platform.worker().offer(title="Print\x00")
        assert refused.value.problem.errors[0].pointer == "/job_types/0"


@pytest.mark.integration
async def test_a_runner_that_stops_serves_nothing_any_more(platform: Platform) -> None:
    registry = ServedTypeStore(platform.pool)
    async with platform.engine():
        assert "report.generate" in {v.name for v in await registry.views()}
        async with platform.engine(instance="two"):
            workers = await platform.pool.fetch("SELECT DISTINCT worker FROM served_types")
            assert {row["worker"] for row in workers} == {"one", "two"}
        assert "report.generate" in {v.name for v in await registry.views()}
    assert await registry.views() == []


@pytest.mark.integration
async def test_a_job_of_an_unknown_type_waits_for_its_worker_and_is_counted(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MEASURE_SECONDS", 0.1)
    async with platform.engine(), platform.engine(instance="two"):
        parked = [await platform.submit("tool.sharpen") for _ in range(3)]
        async with asyncio.timeout(10):
            while unserved("tool.sharpen") != 3:
                await asyncio.sleep(0.1)
        registry = ServedTypeStore(platform.pool)
        assert await registry.unserved("two") == {}, "the runner that is up longest counts alone"
        assert (await platform.job(parked[0])).state is JobState.QUEUED
        worker = platform.worker("grinder")
        await worker.offer("tool.sharpen", title="Sharpen a tool")
        async with asyncio.timeout(10):
            while unserved("tool.sharpen"):
                await asyncio.sleep(0.1)
        for _ in parked:
            assert await worker.end(await worker.next("tool.sharpen"), WorkOutcome.SUCCEEDED)
        for job_id in parked:
            assert (await platform.job(job_id)).state is JobState.SUCCEEDED


@pytest.mark.integration
async def test_counting_does_not_read_the_jobs_of_types_that_are_served(
    platform: Platform,
) -> None:
    registry = ServedTypeStore(platform.pool)
    await registry.announce("one", [view("report.generate")])
    await platform.pool.execute(
        """
        INSERT INTO jobs (id, tenant, type, state, priority, parameters, rank, ready_at,
                          attempts_max, timeout_seconds)
        SELECT gen_random_uuid(), 'tenant-' || n % 5,
               CASE WHEN n % 1000 = 0 THEN 'tool.sharpen' ELSE 'report.generate' END,
               'queued', 2, '{}', now(), now(), 3, 60
        FROM generate_series(1, 50000) AS n
        """
    )
    await platform.pool.execute("VACUUM ANALYZE jobs")
    assert await registry.unserved("one") == {"tool.sharpen": 50}
    (row,) = await platform.pool.fetch(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {UNSERVED}", "one", GROUPS_MAX, COUNTED_MAX
    )
    plan = json.loads(row["QUERY PLAN"])[0]["Plan"]
    read: int = plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    whole: int = await platform.pool.fetchval(
        "SELECT relpages FROM pg_class WHERE relname = 'jobs'"
    )
    assert read < whole / 4


class Nothing(BaseModel):
    """No parameters, no result."""


class Ping(JobType[Nothing, Nothing]):
    """A job type that only the newer version has."""

    name = "tool.ping"
    title = "Ping"
    parameters = Nothing
    result = Nothing
    example: ClassVar[Mapping[str, Any]] = {}
    isolation = Isolation.LOOP

    async def run(self, context: JobContext, parameters: Nothing) -> Nothing:
        return Nothing()


@pytest.mark.integration
async def test_jobs_of_a_new_type_survive_that_the_runners_are_replaced_one_by_one(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    def installed(*job_types: JobType[Any, Any]) -> None:
        monkeypatch.setattr(Catalogue, "installed", lambda: Catalogue(job_types))

    installed()
    async with AsyncExitStack() as old:
        await old.enter_async_context(platform.engine(instance="old"))
        early = await platform.submit("tool.ping")
        assert (await platform.job(early)).state is JobState.QUEUED
        installed(Ping())
        async with platform.engine(instance="new"):
            async with asyncio.timeout(10):
                while "tool.ping" not in await platform.types():
                    await asyncio.sleep(0.1)
            both = [await platform.submit("tool.ping") for _ in range(10)]
            await old.aclose()
            late = await platform.submit("tool.ping")
            for job_id in (early, *both, late):
                job = await platform.becomes(job_id, JobState.SUCCEEDED)
                assert [a.worker for a in job.attempts] == ["new"]
