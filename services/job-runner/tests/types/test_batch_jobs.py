"""batch.apply with a job for each item."""

from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.batches import BatchParameters, BatchResult
from lineshaft_job_runner.job_type import PermanentError, WaitForChildrenError
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.batch_apply import BatchApply

ITEMS = [{"query": f"orders-{n}", "line": "L1", "format": "csv"} for n in range(95)]


async def run(context: FolderContext, **more: Any) -> BatchResult:
    work = {
        "job_type": "data.export",
        "parameters": {"source": "mes"},
        "item_parameters": {"query": "query", "format": "format"},
        "limit_key": "line",
    }
    parameters = BatchParameters.model_validate({"jobs": work, "items": ITEMS, **more})
    return await BatchApply().run(context, parameters)


async def test_jobs_are_submitted_waited_for_and_counted_by_their_end(tmp_path: Path) -> None:
    first = FolderContext(tmp_path)
    with pytest.raises(WaitForChildrenError):
        await run(first)
    assert first.submitted[94] == (
        "data.export", {"source": "mes", "query": "orders-94", "format": "csv"},
    )  # fmt: skip
    children = {"succeeded": 90, "failed": 4, "cancelled": 1}
    second = FolderContext(tmp_path, children=children, records=first.records)
    result = await run(second)
    assert result.counts.model_dump() == {"requested": 95, "ok": 90, "skipped": 0, "failed": 5}
    assert (result.children, second.submitted) == (children, [])
    lines = (tmp_path / "outcomes.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "item,job_id,outcome,code,message"
    assert len({line.split(",")[1] for line in lines[1:]}) == 95


async def test_no_job_is_submitted_when_an_item_does_not_fit(tmp_path: Path) -> None:
    context = FolderContext(tmp_path)
    with pytest.raises(PermanentError, match="item 96: the item has no field 'format'") as raised:
        await run(context, items=[*ITEMS, {"query": "x", "line": "L1"}])
    assert raised.value.code == "batch_rejected"


async def test_items_that_do_not_fit_are_left_out_when_others_may_go_on(tmp_path: Path) -> None:
    given = [*ITEMS[:2], {"query": "x", "line": "L1"}]
    first = FolderContext(tmp_path)
    with pytest.raises(WaitForChildrenError):
        await run(first, items=given, mode="continue_on_error")
    second = FolderContext(tmp_path, children={"succeeded": 2}, records=first.records)
    result = await run(second, items=given, mode="continue_on_error")
    assert (result.counts.ok, result.counts.failed) == (2, 1)
    assert result.errors[0].code == "item_field_missing"


async def test_a_dry_run_submits_nothing(tmp_path: Path) -> None:
    context = FolderContext(tmp_path)
    result = await run(context, dry_run=True)
    assert (context.submitted, result.counts.ok, result.applied) == ([], 95, False)


def test_a_batch_of_jobs_is_repeated_safely_by_its_own_idempotency_key() -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        BatchParameters.model_validate(
            {"jobs": {"job_type": "data.export"}, "items": [], "batch_id": "b"}
        )


@pytest.mark.parametrize(
    "given",
    [
        {"items": []},
        {"table": {"source": "mes", "entity": "e", "operation": "upsert"}},
        {"table": {"source": "mes", "entity": "e;x", "operation": "upsert"}, "items": []},
        {"table": {"source": "mes", "entity": "e", "operation": "drop"}, "items": []},
        {"table": {"source": "mes", "entity": "e", "operation": "insert",
                   "columns": ['a" = 1; --']}, "items": []},
        {"jobs": {"job_type": "data.export"}, "items": [{"=1+1": 2}]},
        {"jobs": {"job_type": "data.export"}, "items": [], "file_name": "../x"},
    ],
)  # fmt: skip
def test_parameters_that_name_what_cannot_be_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        BatchParameters.model_validate(given)
