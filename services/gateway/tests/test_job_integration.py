"""Batches through a gateway process and a real RabbitMQ; the admin key's scopes in PostgreSQL."""

from importlib.resources import files
from pathlib import Path

import aiohttp
import pytest
from lineshaft_common import messaging, postgres
from lineshaft_common.messaging import answers
from lineshaft_contracts import topology
from lineshaft_contracts.envelope import Envelope
from lineshaft_contracts.jobs import JobsAccepted, SubmissionResult, SubmitJobs
from lineshaft_gateway.keys import ADMIN, ALL_SCOPES, Scope, make
from lineshaft_gateway.store import PACKAGE, PostgresKeyStore

from .test_integration import gateway
from .test_jobs import JOB

pytestmark = pytest.mark.integration


async def test_a_batch_is_decided_or_kept_by_the_broker(
    fresh_amqp_url: str, postgres_url: str, tmp_path: Path
) -> None:
    sizes: list[int] = []

    async def accept(command: Envelope[SubmitJobs]) -> JobsAccepted:
        sizes.append(len(command.data.jobs))
        results = [SubmissionResult(job_id=one.job_id, created=True) for one in command.data.jobs]
        return JobsAccepted(results=tuple(results))

    batch = {"jobs": [{**JOB, "order_key": str(number)} for number in range(1_250)]}
    async with (
        messaging.connect(fresh_amqp_url, name="test") as bus,
        gateway(fresh_amqp_url, postgres_url, tmp_path) as one,
        aiohttp.ClientSession(one.url, headers=one.key) as client,
    ):
        async with bus.serve(topology.JOB_RUNNER_SUBMIT, answers(SubmitJobs, accept)):
            decided = await client.post("/api/jobs/batch", json=batch)
            assert (decided.status, (await decided.json())["created"]) == (200, 1_250)
            assert sorted(sizes) == [50] + [100] * 12
        later = await client.post("/api/jobs/batch", json=batch)
        assert (later.status, (await later.json())["accepted"]) == (202, 1_250)
        assert await bus.depth(topology.JOB_RUNNER_SUBMIT) == (13, 0)


async def test_admin_keys_from_before_get_a_scope_that_came_up_later(postgres_url: str) -> None:
    folder = files(PACKAGE) / "migrations"
    migration = (folder / "0002_admin_keys_steer_jobs.sql").read_text()
    before = frozenset(ALL_SCOPES) - {Scope.JOBS_ADMIN}
    admin, _ = make(tenant="acme", name=ADMIN, scopes=before)
    persons, _ = make(tenant="acme", name=ADMIN, scopes=before, created_by=admin.prefix)
    async with postgres.connect(postgres_url, PACKAGE, name="test") as pool:
        store = PostgresKeyStore(pool)
        for key in (admin, persons):
            await store.add(key)
        for _ in range(2):
            await pool.execute(migration)
        found = [await store.find(key.prefix) for key in (admin, persons)]
    assert [key and key.scopes for key in found] == [frozenset(ALL_SCOPES), before]
