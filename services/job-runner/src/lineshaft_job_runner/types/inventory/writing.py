"""The files of a sync: what differs, what nobody could decide, and what was not understood."""

import asyncio
from pathlib import Path

import polars as pl
from lineshaft_contracts.inventory_sync import Decision

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.inventory.merging import NOTHING
from lineshaft_job_runner.types.inventory.normalizing import REASONS
from lineshaft_job_runner.types.inventory.quantities import QUANTITY, written

DIFFERENCES = (
    "item",
    "location",
    "uom",
    "base",
    "source",
    "target",
    "decision",
    "delta",
    "applied",
)
CONFLICTS = (
    "item",
    "location",
    "uom",
    "base",
    "source",
    "target",
    "changed_at",
    "target_changed_at",
)


def differences(
    merged: pl.DataFrame,
    earlier: pl.DataFrame,
    *,
    applied: bool,
    overtaken: frozenset[tuple[str, str]],
) -> pl.DataFrame:
    """Give each item and location whose sides differed; columns DIFFERENCES.

    `applied` is `now`, `before` (by an earlier attempt of the job), `overtaken`, or `no`.
    """
    lost = pl.DataFrame(
        sorted(overtaken), schema={"item": pl.String, "location": pl.String}, orient="row"
    ).with_columns(_lost=pl.lit(value=True))
    done = pl.when(pl.col("_lost").fill_null(value=False)).then(pl.lit("overtaken"))
    moved = pl.lit(applied) & (pl.col("delta") != NOTHING)
    now = (
        merged.filter(pl.col("decision") != Decision.SAME)
        .join(lost, on=["item", "location"], how="left")
        .with_columns(
            applied=done.when(moved).then(pl.lit("now")).otherwise(pl.lit("no")),
        )
    )
    before = earlier.with_columns(applied=pl.lit("before"), uom=pl.lit(None, pl.String))
    return pl.concat([before.select(DIFFERENCES), now.select(DIFFERENCES)]).sort(
        "item", "location", maintain_order=True
    )


def conflicts(merged: pl.DataFrame) -> pl.DataFrame:
    """Give the rows that somebody has to decide; columns CONFLICTS."""
    return (
        merged.filter(pl.col("decision") == Decision.CONFLICT)
        .select(CONFLICTS)
        .sort("item", "location")
    )


def failures(found: pl.DataFrame) -> pl.DataFrame:
    """Add why each row has failed."""
    return found.drop("cursor_at").with_columns(reason=pl.col("code").replace_strict(REASONS))


async def write(context: JobContext, name: str, table: pl.DataFrame) -> None:
    """Write a table as CSV; quantities have the digits that they need."""
    async with context.artifact(name, media_type="text/csv") as file:
        await asyncio.to_thread(_write, table, file.path)
        file.rows = table.height


def _write(table: pl.DataFrame, path: Path) -> None:
    exact = [name for name, kind in table.schema.items() if kind == QUANTITY]
    shown = table.with_columns(written(pl.col(name)) for name in exact)
    shown.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S%.6fZ")
