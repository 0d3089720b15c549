"""What has to hold before anything is applied: a broken source looks like a great change."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
from lineshaft_contracts.inventory_sync import Guards

from lineshaft_job_runner.types.inventory.merging import NOTHING


@dataclass(frozen=True, kw_only=True)
class Breach:
    """A guard that stops the job, and what to do about it."""

    code: str
    message: str


def breaches(
    merged: pl.DataFrame, *, failed_rows: int, guards: Guards, whole: bool
) -> list[Breach]:
    """Find the guards that do not hold; `whole` is false for a source of changes."""
    return [
        *_failed(failed_rows, guards),
        *(_shrunk(merged, guards) if whole else ()),
        *_changed(merged, guards),
        *_jumped(merged, guards),
        *_negative(merged, guards),
    ]


def _failed(failed_rows: int, guards: Guards) -> Iterator[Breach]:
    if failed_rows > guards.failed_rows_max:
        yield Breach(
            code="guard_failed_rows",
            message=f"{failed_rows} rows of the source cannot be understood, {_at_most(guards)}: "
            "correct them (a dry run lists them all), or raise guards.failed_rows_max",
        )


def _at_most(guards: Guards) -> str:
    allowed = guards.failed_rows_max
    return f"at most {allowed} may be" if allowed else "none may be"


def _shrunk(merged: pl.DataFrame, guards: Guards) -> Iterator[Breach]:
    before = merged.filter(pl.col("named_before").fill_null(value=False))
    gone = before.filter(~pl.col("named")).height
    if before.height >= max(guards.rows_min, 1) and gone > guards.shrink_ratio_max * before.height:
        yield Breach(
            code="guard_shrunk",
            message=f"the source no longer names {gone} of {before.height} stocks "
            f"({_percent(gone, before.height)}, at most {guards.shrink_ratio_max:.0%}): is it "
            "complete? If so, raise guards.shrink_ratio_max for one run",
        )


def _changed(merged: pl.DataFrame, guards: Guards) -> Iterator[Breach]:
    compared = merged.filter(pl.col("source").is_not_null())
    if not merged["revision"].is_not_null().any():
        # The first sync may add as much as it likes: the target does not know the rest.
        compared = compared.filter(pl.col("known"))
    changed = compared.filter(pl.col("delta") != NOTHING).height
    if compared.height >= max(guards.rows_min, 1) and (
        changed > guards.changed_ratio_max * compared.height
    ):
        yield Breach(
            code="guard_changed",
            message=f"{changed} of {compared.height} stocks would change "
            f"({_percent(changed, compared.height)}, at most {guards.changed_ratio_max:.0%}): "
            "look at a dry run; if it is right, raise guards.changed_ratio_max for one run",
        )


def _jumped(merged: pl.DataFrame, guards: Guards) -> Iterator[Breach]:
    ratio = guards.quantity_ratio_max
    if ratio is None:
        return
    size = pl.col("target").abs().cast(pl.Float64)
    jumps = merged.filter(
        pl.col("known")
        & (pl.col("target") != NOTHING)
        & (pl.col("delta").abs().cast(pl.Float64) > size * ratio)
    )
    if jumps.height:
        yield Breach(
            code="guard_quantity",
            message=f"{jumps.height} stocks would change by more than {ratio:.0%}, the first is "
            f"{_first(jumps)}: look at a dry run; if it is right, raise guards.quantity_ratio_max "
            "for one run",
        )


def _negative(merged: pl.DataFrame, guards: Guards) -> Iterator[Breach]:
    if guards.negative_stock == "allow":
        return
    # What is compared may be less than what is on hand, so the stock itself is looked at.
    below = merged.filter((pl.col("delta") < NOTHING) & (pl.col("on_hand_next") < NOTHING))
    if below.height:
        yield Breach(
            code="guard_negative",
            message=f"{below.height} stocks would be below zero, the first is {_first(below)}: "
            "correct the source, or set guards.negative_stock to allow",
        )


def _first(rows: pl.DataFrame) -> str:
    row = rows.sort("item", "location").row(0, named=True)
    return f"{row['item']!r} at {row['location']!r} ({row['target']:f} by {row['delta']:+f})"


def _percent(part: int, whole: int) -> str:
    return f"{part / whole:.1%}"
