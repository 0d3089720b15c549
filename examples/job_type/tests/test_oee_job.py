"""The example runs as its README says: found by its entry point, run by the engine."""

import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.jobs import JobState
from lineshaft_job_runner.catalogue import ENTRY_POINTS, Catalogue
from lineshaft_job_runner.job import Outcome
from lineshaft_job_runner.memory_store import MemoryStore, claimed_job, memory_runner

EXAMPLE = Path(__file__).parents[1]
SHIFT = {
    "planned_seconds": 28_800,
    "running_seconds": 25_200,
    "ideal_cycle_seconds": 30,
    "made": 756,
    "good": 700,
}


@pytest.fixture
def catalogue(monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    """Load it as the runner loads what is installed."""
    monkeypatch.syspath_prepend(str(EXAMPLE / "src"))
    project = tomllib.loads((EXAMPLE / "pyproject.toml").read_text())["project"]
    ((name, value),) = project["entry-points"][ENTRY_POINTS].items()
    job_type: Any = EntryPoint(name, value, ENTRY_POINTS).load()()
    assert job_type.name == name
    return Catalogue([job_type])


async def outcome(catalogue: Catalogue, folder: Path, parameters: dict[str, Any]) -> Outcome:
    """Run one attempt."""
    job = claimed_job("oee.compute", parameters=parameters)
    store = MemoryStore(jobs=[job])
    async with memory_runner(store, catalogue, folder):
        return await store.end_of(job)


async def test_the_effectiveness_of_a_shift(catalogue: Catalogue, tmp_path: Path) -> None:
    end = await outcome(catalogue, tmp_path, SHIFT)
    assert end.state is JobState.SUCCEEDED
    assert end.result == {"oee": 0.7292}


async def test_wrong_counts_are_not_tried_again(catalogue: Catalogue, tmp_path: Path) -> None:
    end = await outcome(catalogue, tmp_path, {**SHIFT, "good": 757})
    assert end.error is not None
    assert (end.state, end.error.code) == (JobState.FAILED, "counts_wrong")


async def test_its_example_is_a_valid_submission(catalogue: Catalogue) -> None:
    catalogue.validated("oee.compute", catalogue.find("oee.compute").example)
