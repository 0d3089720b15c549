"""batch.apply on a running engine: in a process of its own, and with jobs of its own."""

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import asyncpg
import pytest
import yaml
from lineshaft_contracts.jobs import JobAccepted, JobState, JobView

pytestmark = pytest.mark.integration


class Plant(Protocol):
    """See conftest.py."""

    def engine(self, **changes: Any) -> AbstractAsyncContextManager[None]: ...

    async def submit(
        self, job_type: str, parameters: Mapping[str, Any], *, tenant: str = "acme"
    ) -> JobAccepted: ...

    async def becomes(self, job_id: UUID, *states: JobState) -> JobView: ...

    async def job(self, job_id: UUID, *, tenant: str = "acme") -> JobView: ...


SOURCES: dict[str, Any] = {
    "sources": {
        "mes": {
            "kind": "postgresql",
            "url_env": "BATCH_URL",
            "write_url_env": "BATCH_URL",
            "tenants": {"acme": {}},
            "entities": {
                "bins": {
                    "columns": {"bin": "text", "pieces": "integer"},
                    "key": ["bin"],
                    "writable": True,
                }
            },
        }
    }
}


@pytest.fixture
def sources(tmp_path: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(yaml.safe_dump(SOURCES), encoding="utf-8")
    monkeypatch.setenv("LINESHAFT_SOURCES_FILE", str(path))
    monkeypatch.setenv("BATCH_URL", postgres_url)
    return path


async def test_rows_are_merged_by_a_process_of_the_engine_for_its_own_tenant(
    plant: Plant, sources: Path, postgres_url: str
) -> None:
    connection = await asyncpg.connect(postgres_url)
    try:
        await connection.execute("CREATE TABLE bins (bin text PRIMARY KEY, pieces integer)")
        parameters = {
            "table": {"source": "mes", "entity": "bins", "operation": "upsert"},
            "items": [{"bin": f"B{number}", "pieces": number} for number in range(1_000)],
        }
        async with plant.engine(sources_file=sources):
            accepted = await plant.submit("batch.apply", parameters)
            stranger = await plant.submit("batch.apply", parameters, tenant="other")
            job = await plant.becomes(accepted.job.id, JobState.SUCCEEDED, JobState.FAILED)
            refused = await plant.job(stranger.job.id, tenant="other")
            while not refused.state.is_final:
                refused = await plant.job(stranger.job.id, tenant="other")
        assert (job.error, job.state) == (None, JobState.SUCCEEDED)
        assert job.result is not None
        assert job.result["inserted"] == 1_000
        assert [artifact.rows for artifact in job.artifacts] == [1_000]
        assert refused.error is not None
        assert refused.error.code == "source_tenant_unknown"
        assert await connection.fetchval("SELECT count(*) FROM bins") == 1_000
    finally:
        await connection.close()


async def test_a_job_for_each_item_is_waited_for(plant: Plant) -> None:
    parameters = {
        "jobs": {"job_type": "trial.work", "item_parameters": {"act": "what"}},
        "items": [
            {"what": "succeed"},
            {"what": "succeed"},
            {"what": "fail_for_good"},
            {"what": 5},
        ],
        "mode": "continue_on_error",
    }
    async with plant.engine():
        accepted = await plant.submit("batch.apply", parameters)
        job = await plant.becomes(accepted.job.id, JobState.SUCCEEDED, JobState.FAILED)
    result: Any = job.result
    assert result is not None, job.error
    assert result["counts"] == {"requested": 4, "ok": 2, "skipped": 0, "failed": 2}
    assert result["children"] == {"succeeded": 2, "failed": 1}
    assert result["errors"][0]["code"] == "child_refused"
