"""Both sides of a sync, read and decided row by row; nothing is changed yet."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import polars as pl
from lineshaft_contracts.inventory_sync import InventorySyncParameters

from lineshaft_job_runner.job_data import Source, Target
from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.inventory import remembering
from lineshaft_job_runner.types.inventory.gathering import Gathered
from lineshaft_job_runner.types.inventory.guards import Breach, breaches
from lineshaft_job_runner.types.inventory.merging import (
    KEYS,
    NOTHING,
    Absent,
    merge,
    moved_since,
)
from lineshaft_job_runner.types.inventory.normalizing import Stock, normalize
from lineshaft_job_runner.types.inventory.units import conversions_of


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Both sides, row by row."""

    stock: Stock
    merged: pl.DataFrame
    earlier: pl.DataFrame
    breaches: list[Breach]
    source_rows: int
    target_rows: int


async def compare(
    context: JobContext, target: Target, gathered: Gathered, parameters: InventorySyncParameters
) -> Compared:
    """Read the target and what is remembered, and decide about each item at each location."""
    # The base before the stock: when another run is faster in between, the claim notices.
    memory = await remembering.recall(target, parameters, context.job_id)
    further = await _conversions(context, parameters)
    async with context.source(parameters.target.source) as source:
        held = await remembering.stock_of(
            context, source, parameters.target, compare=parameters.compare
        )
        stock = await asyncio.to_thread(
            normalize,
            gathered.stated,
            held.select(*KEYS, "uom"),
            conversions_of(parameters.conversions, further),
            parameters,
            now=datetime.now(UTC),
        )
        moved = await _moved(context, source, target, stock, parameters)
    return await asyncio.to_thread(
        _merged, stock, held, memory, moved, parameters, gathered=gathered
    )


def _merged(
    stock: Stock,
    held: pl.DataFrame,
    memory: remembering.Memory,
    moved: pl.DataFrame | None,
    parameters: InventorySyncParameters,
    *,
    gathered: Gathered,
) -> Compared:
    # What the source names, but not in a way that is understood, is neither absent nor known.
    broken = stock.failures.select(KEYS).drop_nulls()
    base = memory.base.join(broken, on=KEYS, how="anti")
    merged = merge(
        stock.rows,
        held,
        base,
        moved,
        policy=parameters.policy,
        absent=_absent(parameters, gathered, stock),
    )
    if not parameters.target.create_rows:
        stock, merged = _without_unknown(stock, merged)
    return Compared(
        stock=stock,
        merged=merged,
        earlier=memory.earlier,
        breaches=breaches(
            merged,
            failed_rows=stock.failures.height,
            guards=parameters.guards,
            whole=gathered.whole,
        ),
        source_rows=gathered.stated.height,
        target_rows=held.height,
    )


def _absent(parameters: InventorySyncParameters, gathered: Gathered, stock: Stock) -> Absent:
    if not gathered.whole:
        return "same"
    # A row that nobody can assign may be the one that seems to be absent.
    unnamed = stock.failures.select(pl.any_horizontal(pl.col(KEYS).is_null()).any()).item()
    return "keep" if unnamed else parameters.absent


def _without_unknown(stock: Stock, merged: pl.DataFrame) -> tuple[Stock, pl.DataFrame]:
    unknown = ~pl.col("known") & (pl.col("delta") != NOTHING)
    refused = merged.filter(unknown).select(
        *KEYS,
        row=pl.lit(None, stock.failures.schema["row"]),
        cursor_at=pl.lit(None, stock.failures.schema["cursor_at"]),
        quantity=pl.col("source").cast(pl.String),
        code=pl.lit("target_row_unknown"),
    )
    failures = pl.concat([stock.failures, refused.select(stock.failures.columns)])
    cursor = stock.cursor if refused.is_empty() else None
    return replace(stock, failures=failures, cursor=cursor), merged.filter(~unknown)


async def _conversions(
    context: JobContext, parameters: InventorySyncParameters
) -> list[tuple[object, ...]]:
    query = parameters.conversion_query
    if query is None:
        return []
    async with context.source(query.source) as source:
        return await remembering.conversions_in(source, query)


async def _moved(
    context: JobContext,
    source: Source,
    target: Target,
    stock: Stock,
    parameters: InventorySyncParameters,
) -> pl.DataFrame | None:
    """Sum up what was booked since each stock count; None when the target cannot tell."""
    movements = parameters.target.movements
    first: datetime | None = stock.rows.select(pl.col("counted_at").min()).item()
    if movements is None or first is None:
        return None
    booked = [await remembering.booked_after(context, source, movements, first)]
    if not movements.includes_syncs:
        booked.append(await remembering.applied_after(target, parameters, first))
    return moved_since(stock.rows, pl.concat(booked))
