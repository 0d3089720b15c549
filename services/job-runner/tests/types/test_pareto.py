"""Pareto: categories ranked exactly, and what is missing said."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lineshaft_contracts.pareto import ParetoResult
from lineshaft_contracts.quality_analysis import QualityParameters
from lineshaft_job_runner.job_type import ColumnType, PermanentError
from lineshaft_job_runner.testing import FolderContext, Table, TableSource
from lineshaft_job_runner.types.pareto.ranking import rank, vital_few
from lineshaft_job_runner.types.quality_analyze import QualityAnalyze
from pydantic import ValidationError

SCRAP = {"scratch": 56, "crack": 24, "dent": 12, "stain": 6, "other": 2}


async def analyze(
    folder: Path, *, sources: Mapping[str, TableSource] | None = None, **parameters: Any
) -> ParetoResult:
    given = QualityParameters.model_validate({"analysis": "pareto", **parameters})
    result = await QualityAnalyze().run(FolderContext(folder, sources=sources), given)
    assert isinstance(result.root, ParetoResult)
    return result.root


def items(weights: Mapping[str | None, float | None]) -> list[dict[str, Any]]:
    return [{"category": category, "weight": weight} for category, weight in weights.items()]


async def test_the_vital_few_make_up_the_threshold(tmp_path: Path) -> None:
    result = await analyze(tmp_path, items=items({**SCRAP})[::-1], title="Scrap $")
    assert [one.category for one in result.categories] == list(SCRAP)
    assert [one.cumulative_share for one in result.categories] == pytest.approx(
        [0.56, 0.80, 0.92, 0.98, 1.0]
    )
    assert (result.vital_few, result.total, result.status) == (2, 100, "complete")
    document = json.loads((tmp_path / "pareto.json").read_text(encoding="utf-8"))
    assert len(document["categories"]) == 5
    assert "Scrap $" in (tmp_path / "pareto.svg").read_text(encoding="utf-8")


async def test_rows_of_a_source_count_as_one_each_or_by_weight(tmp_path: Path) -> None:
    table = Table(
        columns={"category": ColumnType.TEXT, "minutes": ColumnType.DOUBLE},
        rows=[("jam", 1.0), ("jam", 2.0), ("wait", 30.0), (None, 4.0)],
    )
    sources = {"mes": TableSource({"stops": table}, batch_rows=2)}
    query = {"source": "mes", "query": "stops"}
    counted = await analyze(tmp_path, sources=sources, items_query=query, missing_ratio_max=0.5)
    assert [(one.category, one.weight) for one in counted.categories] == [("jam", 2), ("wait", 1)]
    assert (counted.counts.requested, counted.counts.skipped) == (4, 1)
    weighed = await analyze(
        tmp_path,
        sources=sources,
        items_query={**query, "weight_column": "minutes"},
        missing_ratio_max=0.5,
    )
    assert [one.category for one in weighed.categories] == ["wait", "jam"]


@pytest.mark.parametrize(
    "weights", [{}, {"a": 0.0}, {"a": 1.0, None: 1.0}, {"a": 1.0, "b": None}], ids=str
)
async def test_missing_data_has_no_vital_few(tmp_path: Path, weights: dict[Any, Any]) -> None:
    result = await analyze(tmp_path, items=items(weights))
    assert (result.status, result.vital_few) == ("insufficient_data", 0)


async def test_a_negative_weight_is_refused(tmp_path: Path) -> None:
    table = Table(
        columns={"category": ColumnType.TEXT, "minutes": ColumnType.DOUBLE}, rows=[("jam", -1.0)]
    )
    query = {"source": "mes", "query": "stops", "weight_column": "minutes"}
    with pytest.raises(PermanentError, match="weight -1"):
        await analyze(tmp_path, sources={"mes": TableSource({"stops": table})}, items_query=query)
    with pytest.raises(ValidationError):
        QualityParameters.model_validate({"analysis": "pareto", "items": items({"a": -1.0})})


@given(
    weights=st.dictionaries(st.text(max_size=5), st.integers(0, 1_000), max_size=30),
    threshold=st.sampled_from([0.5, 0.8, 1.0]),
)
@settings(deadline=None)
def test_no_smaller_set_reaches_the_threshold(weights: dict[str, int], threshold: float) -> None:
    ranked = rank({category: float(weight) for category, weight in weights.items()})
    total = sum(weights.values())
    if total == 0:
        assert ranked == ()
        return
    assert sum(one.share for one in ranked) == pytest.approx(1)
    few = vital_few(ranked, threshold)
    heaviest = sorted(weights.values(), reverse=True)
    assert sum(heaviest[:few]) >= threshold * total - 1e-6
    assert few == 1 or sum(heaviest[: few - 1]) < threshold * total
