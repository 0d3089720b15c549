"""The three-way merge: what each side holds against what was last synced, decided row by row."""

from typing import Literal, TypeAlias

import polars as pl
from lineshaft_contracts.inventory_sync import ConflictPolicy, Decision

from lineshaft_job_runner.types.inventory.quantities import MOMENT, QUANTITY

KEYS = ["item", "location"]
SOURCE = {
    "item": pl.String,
    "location": pl.String,
    "source": QUANTITY,
    "uom": pl.String,
    "changed_at": MOMENT,
    "counted_at": MOMENT,
}
TARGET = {
    "item": pl.String,
    "location": pl.String,
    "target": QUANTITY,
    "on_hand": QUANTITY,
    "uom": pl.String,
    "target_changed_at": MOMENT,
}
"""`target` is what is compared: on hand, or what is available of it."""
BASE = {
    "item": pl.String,
    "location": pl.String,
    "base": QUANTITY,
    "stated": QUANTITY,
    "revision": pl.Int64,
    "named": pl.Boolean,
    "base_counted_at": MOMENT,
    "synced_at": MOMENT,
}
"""`base` is the source's quantity that the target was last brought in line with, NULL before the
first time; `stated` is what the source said last, `revision` counts the changes of the row, and
`named` tells whether a whole source named it last time."""
MOVED = {"item": pl.String, "location": pl.String, "moved": QUANTITY}
"""What was booked in the target after the time of the source's stock count."""

Absent: TypeAlias = Literal["keep", "zero", "same"]
"""What a source means that does not name stock: nothing, that it is gone, or no change."""
NOTHING = pl.lit(0).cast(QUANTITY)
APPLIED = (
    Decision.SOURCE_MOVED,
    Decision.SOURCE_WON,
    Decision.SUMMED,
    Decision.COUNTED,
)
UNDECIDED = (Decision.CONFLICT, Decision.ABSENT, Decision.OLD_COUNT)
"""Nothing is done, and the base stays."""


def merge(
    source: pl.DataFrame,
    target: pl.DataFrame,
    base: pl.DataFrame,
    moved: pl.DataFrame | None = None,
    *,
    policy: ConflictPolicy,
    absent: Absent = "keep",
) -> pl.DataFrame:
    """Decide about each item at each location that the source names, or that was synced before.

    Frames have the columns SOURCE, TARGET, BASE and MOVED; None for `moved` where nothing is known
    of bookings. Stock that a side does not know is zero there. Adds to these columns `known` (by
    the target), `decision`, `delta` (to add to the stock on hand) and what is to be remembered
    (`on_hand_next`, `base_next`, `stated_next`).
    """
    rows = source.join(base, on=KEYS, how="full", coalesce=True).join(
        target.select(*KEYS, "target", "on_hand", "target_changed_at"), on=KEYS, how="left"
    )
    if moved is not None:
        rows = rows.join(moved, on=KEYS, how="left")
    else:
        rows = rows.with_columns(moved=pl.lit(None, dtype=QUANTITY))
    silent = {"keep": pl.lit(None), "zero": NOTHING, "same": pl.col("stated")}[absent]
    rows = rows.with_columns(
        named=pl.col("source").is_not_null() | pl.lit(absent == "same"),
        named_before=pl.col("named"),
        source=pl.coalesce("source", silent),
        known=pl.col("target").is_not_null(),
        target=pl.col("target").fill_null(NOTHING),
    ).with_columns(_at_count=_target_at_count(known=moved is not None))
    rows = rows.with_columns(decision=_decision(policy)).with_columns(
        delta=_delta(), base_next=_base_next(), stated_next=_stated_next()
    )
    rows = rows.with_columns(on_hand_next=pl.col("on_hand").fill_null(NOTHING) + pl.col("delta"))
    return rows.drop("_at_count", "moved")


def _target_at_count(*, known: bool) -> pl.Expr:
    """Give what the target held at the time of the count; NULL when nobody can tell."""
    if known:
        return pl.col("target") - pl.col("moved").fill_null(NOTHING)
    # Without its bookings: only stock that is as the last sync left it, before the count.
    untouched = (pl.col("target") == pl.col("base")) & (
        pl.col("synced_at") <= pl.col("counted_at")
    )
    return pl.when(untouched).then(pl.col("target"))


def _decision(policy: ConflictPolicy) -> pl.Expr:
    source, target, base = pl.col("source"), pl.col("target"), pl.col("base")
    counted, before = pl.col("counted_at"), pl.col("base_counted_at")
    synced = base.is_not_null()
    # A count that was corrected keeps its time.
    new_count = counted.is_not_null() & (
        before.is_null() | (counted > before) | ((counted == before) & source.ne_missing(base))
    )
    return (
        pl.when(source.is_null())
        .then(_lit(Decision.ABSENT))
        .when(counted < before)
        .then(_lit(Decision.OLD_COUNT))
        .when(new_count & pl.col("_at_count").is_not_null())
        .then(_lit(Decision.COUNTED))
        .when(source == target)
        .then(_lit(Decision.SAME))
        .when(synced & (source == base))
        .then(_lit(Decision.TARGET_MOVED))
        .when((synced & (target == base)) | (~synced & ~pl.col("known")))
        .then(_lit(Decision.SOURCE_MOVED))
        .otherwise(_resolved(policy))
    )


def _resolved(policy: ConflictPolicy) -> pl.Expr:
    """Decide where both sides moved."""
    won, lost = _lit(Decision.SOURCE_WON), _lit(Decision.TARGET_WON)
    match policy:
        case ConflictPolicy.MANUAL:
            return _lit(Decision.CONFLICT)
        case ConflictPolicy.SOURCE_WINS:
            return won
        case ConflictPolicy.TARGET_WINS:
            return lost
        case ConflictPolicy.LOWEST:
            return pl.when(pl.col("source") < pl.col("target")).then(won).otherwise(lost)
        case ConflictPolicy.NEWEST:
            ours, theirs = pl.col("target_changed_at"), pl.col("changed_at")
            return (
                pl.when(theirs > ours)
                .then(won)
                .when(theirs < ours)
                .then(lost)
                .otherwise(_lit(Decision.CONFLICT))
            )
        case ConflictPolicy.SUM:
            synced = pl.col("base").is_not_null()
            return pl.when(synced).then(_lit(Decision.SUMMED)).otherwise(_lit(Decision.CONFLICT))


def _delta() -> pl.Expr:
    decision, source = pl.col("decision"), pl.col("source")
    return (
        pl.when(decision.is_in([Decision.SOURCE_MOVED, Decision.SOURCE_WON]))
        .then(source - pl.col("target"))
        .when(decision == Decision.SUMMED)
        .then(source - pl.col("base"))
        .when(decision == Decision.COUNTED)
        .then(source - pl.col("_at_count"))
        .otherwise(NOTHING)
        .cast(QUANTITY)
    )


def _base_next() -> pl.Expr:
    undecided = pl.col("decision").is_in(UNDECIDED)
    return pl.when(undecided).then(pl.col("base")).otherwise(pl.col("source"))


def _stated_next() -> pl.Expr:
    unheard = pl.col("decision").is_in([Decision.ABSENT, Decision.OLD_COUNT])
    return pl.when(unheard).then(pl.col("stated")).otherwise(pl.col("source"))


def _lit(decision: Decision) -> pl.Expr:
    return pl.lit(decision.value)


def to_write(merged: pl.DataFrame) -> pl.DataFrame:
    """Select what changes the stock or what is remembered of it, by key; adds `counted_next`."""
    differs = (
        pl.col("base_next").ne_missing(pl.col("base"))
        | pl.col("stated_next").ne_missing(pl.col("stated"))
        | pl.col("counted_next").ne_missing(pl.col("base_counted_at"))
        | (pl.col("named") != pl.col("named_before")).fill_null(value=False)
    )
    changed = merged.with_columns(counted_next=_count_next()).filter(
        (pl.col("delta") != NOTHING) | differs
    )
    return changed.sort(KEYS)


def _count_next() -> pl.Expr:
    undecided = pl.col("decision").is_in(UNDECIDED)
    latest = pl.max_horizontal("counted_at", "base_counted_at")
    return pl.when(undecided).then(pl.col("base_counted_at")).otherwise(latest)


def moved_since(source: pl.DataFrame, bookings: pl.DataFrame) -> pl.DataFrame:
    """Sum up, by key, what was booked after the source's stock count; columns MOVED.

    `bookings` has item, location, quantity (signed) and at.
    """
    counts = source.filter(pl.col("counted_at").is_not_null()).select(*KEYS, "counted_at")
    return (
        bookings.join(counts, on=KEYS, how="inner")
        .filter(pl.col("at") > pl.col("counted_at"))
        .group_by(KEYS)
        .agg(moved=pl.col("quantity").sum().cast(QUANTITY))
    )
