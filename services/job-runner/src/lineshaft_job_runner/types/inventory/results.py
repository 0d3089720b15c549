"""What a sync answers: decisions counted, the first conflicts, errors and warnings."""

from collections.abc import Iterable
from datetime import datetime
from typing import TypeVar

import polars as pl
from lineshaft_contracts.inventory_sync import (
    Decision,
    InventorySyncParameters,
    InventorySyncResult,
    StockConflict,
)
from lineshaft_contracts.job_parameters import ERRORS_MAX, Counts, Engine
from lineshaft_contracts.jobs import Artifact, JobError
from pydantic import BaseModel

from lineshaft_job_runner.types.inventory.applying import Applied
from lineshaft_job_runner.types.inventory.comparing import Compared
from lineshaft_job_runner.types.inventory.merging import KEYS, NOTHING, UNDECIDED
from lineshaft_job_runner.types.inventory.normalizing import REASONS

LIST_BYTES_MAX = 20_000
"""Of the conflicts and of the errors that a result shows; the files have all."""
TEXT_SHOWN = 60

Entry = TypeVar("Entry", bound=BaseModel)


def result(
    parameters: InventorySyncParameters,
    compared: Compared,
    applied: Applied,
    *,
    cursor: datetime | None,
    artifacts: tuple[Artifact, ...],
    digest: str,
) -> InventorySyncResult:
    """Count what was decided; ok, skipped and failed add up to what was requested."""
    merged, stock = compared.merged, compared.stock
    found = dict(merged.group_by("decision").len().iter_rows())
    decisions = {one: found[one] for one in Decision if one in found}
    overtaken = len(applied.overtaken)
    undecided = sum(decisions.get(one, 0) for one in UNDECIDED)
    # A row that was overtaken may be undecided too; then it is counted once.
    lost = merged.filter(~pl.col("decision").is_in(UNDECIDED)).join(
        pl.DataFrame(sorted(applied.overtaken), schema=KEYS, orient="row").cast(pl.String),
        on=KEYS,
        how="semi",
    )
    skipped, failed = undecided + lost.height, stock.failures.height
    return InventorySyncResult(
        counts=Counts(
            requested=merged.height + failed,
            ok=merged.height - skipped,
            skipped=skipped,
            failed=failed,
        ),
        artifacts=artifacts,
        warnings=_warnings(parameters, compared),
        errors=_errors(stock.failures),
        engine=Engine(name="polars", version=pl.__version__),
        input_digest=digest,
        sync=parameters.sync,
        source_rows=compared.source_rows,
        target_rows=compared.target_rows,
        decisions=decisions,
        applied=applied.changed,
        applied_before=compared.earlier.height,
        created=applied.created,
        overtaken=overtaken,
        converted=stock.converted,
        rounded=stock.rounded,
        conflicts=_conflicts(merged),
        cursor=cursor,
    )


def _conflicts(merged: pl.DataFrame) -> tuple[StockConflict, ...]:
    rows = merged.filter(pl.col("decision") == Decision.CONFLICT).sort(KEYS).head(ERRORS_MAX)
    shown = rows.select(*KEYS, "base", "source", "target").iter_rows(named=True)
    return _that_fit(StockConflict.model_validate(row) for row in shown)


def _errors(failures: pl.DataFrame) -> tuple[JobError, ...]:
    rows = failures.head(ERRORS_MAX).iter_rows(named=True)
    return _that_fit(
        JobError(
            code=row["code"],
            message=f"row {row['row'] or '-'}, item {_shown(row['item'])} at "
            f"{_shown(row['location'])}: {REASONS[row['code']]}",
        )
        for row in rows
    )


def _that_fit(values: Iterable[Entry]) -> tuple[Entry, ...]:
    """Take the first values: a result that is too large would fail the job after its work."""
    taken: list[Entry] = []
    size = 0
    for value in values:
        size += len(value.model_dump_json())
        if size > LIST_BYTES_MAX:
            break
        taken.append(value)
    return tuple(taken)


def _shown(text: str | None) -> str:
    return repr(text if text is None else text[:TEXT_SHOWN])


def _warnings(parameters: InventorySyncParameters, compared: Compared) -> tuple[str, ...]:
    stock = compared.stock
    found = [f"would stop: {breach.message}" for breach in compared.breaches]
    if not parameters.dry_run:
        found = []
    if stock.skipped:
        found.append(f"{stock.skipped} rows of other locations are left out")
    if stock.rounded:
        found.append(f"{stock.rounded} quantities are rounded to {parameters.decimals} decimals")
    conflicts = compared.merged.filter(pl.col("decision") == Decision.CONFLICT).height
    if conflicts:
        found.append(f"{conflicts} stocks moved on both sides: somebody has to decide about them")
    if parameters.target.columns.reserved is not None:
        short = compared.merged.filter(
            pl.col("known") & (pl.col("target") + pl.col("delta") < NOTHING)
        ).height
        if short and parameters.compare == "available":
            found.append(f"{short} stocks have more reserved than is on hand")
    return tuple(found)
