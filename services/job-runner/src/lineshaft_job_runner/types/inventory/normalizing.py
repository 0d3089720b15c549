"""What a source states, row by row, as stock by item and location in the target's own terms."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import polars as pl
from lineshaft_contracts.inventory_sync import InventorySyncParameters

from lineshaft_job_runner.types.inventory.quantities import MOMENT, QUANTITY, moment, parsed
from lineshaft_job_runner.types.inventory.stating import TIMES
from lineshaft_job_runner.types.inventory.units import convert

CLOCK_SKEW = timedelta(minutes=5)
TEXT_MAX = 200
QUANTITY_FORM = "a plain number with at most 15 digits and 9 decimals, such as 12.5"
TIME_FORM = "ISO 8601 with a zone, such as 2026-11-24T06:00:00Z"

REASONS: Mapping[str, str] = {
    "item_missing": "the row names no item",
    "location_missing": "the row names no location",
    "text_invalid": f"item or location has more than {TEXT_MAX} characters, or a NUL",
    "location_unknown": "the location is not in `locations`",
    "quantity_invalid": f"the quantity is not {QUANTITY_FORM}",
    "reserved_invalid": f"the reserved quantity is not {QUANTITY_FORM}",
    "time_invalid": f"a time is not {TIME_FORM}",
    "count_in_future": "the stock count lies in the future",
    "unit_unknown": "there is no conversion from this unit to the target's",
    "unit_ambiguous": "the target, or the conversions, have several units for the item, and none "
    "at this location",
    "duplicate": "another row has the same item and location; `duplicates: sum` adds lots up",
    "counts_differ": "rows that are added up are of different stock counts",
    "part_failed": "another row of the same item and location has failed",
    "target_row_unknown": "the target has no such stock, and `create_rows` is off",
}
"""Why a row has failed, by code."""


@dataclass(frozen=True, kw_only=True)
class Stock:
    """What was understood, and what was not."""

    rows: pl.DataFrame
    """item, location, source, uom, changed_at, counted_at; a row for each item and location."""
    failures: pl.DataFrame
    """row (from 1), item, location, quantity (as stated), cursor_at, code."""
    skipped: int
    """Rows of locations that are left out."""
    converted: int
    rounded: int
    cursor: datetime | None
    """The latest `cursor_at` before which every row was understood."""


def normalize(
    stated: pl.DataFrame,
    units: pl.DataFrame,
    conversions: pl.DataFrame,
    parameters: InventorySyncParameters,
    *,
    now: datetime,
) -> Stock:
    """Map locations, read numbers and times, convert units, and add up what belongs together.

    `stated` has the columns of `stating.STATED`; `units` has item, location and uom of the
    target's stock. An item and location of which one row has failed are left out as a whole.
    """
    frame = stated.with_row_index("row", offset=1)
    default = pl.lit(parameters.source.columns.location_default, dtype=pl.String)
    frame = frame.with_columns(location=pl.coalesce(default, "location"))
    frame, skipped = _mapped(frame, parameters)
    frame = _read(frame, parameters)
    frame = _with_target_unit(frame, units, conversions)
    frame = convert(frame, conversions, decimals=parameters.decimals)
    frame = frame.with_columns(code=_first_reason(parameters, now=now))
    if frame.select("item", "location").is_duplicated().any():
        frame = _without_repeats(frame, parameters.duplicates)
        frame = _with_broken_groups(frame, sums=parameters.duplicates == "sum")
    good = frame.filter(pl.col("code").is_null())
    failures = frame.filter(pl.col("code").is_not_null()).select(
        "row", "item", "location", "cursor_at", quantity=pl.col("quantity_stated"), code="code"
    )
    return Stock(
        rows=_added_up(good),
        failures=failures.sort("row"),
        skipped=skipped,
        converted=int(good["converted"].sum()),
        rounded=int(good["rounded"].sum()),
        cursor=_cursor(frame, failures),
    )


def _cursor(frame: pl.DataFrame, failures: pl.DataFrame) -> datetime | None:
    # A row that failed has to come again when it is correct, so the cursor stays before it.
    if failures.is_empty():
        latest = frame.select(pl.col("cursor_at").max()).item()
    elif failures["cursor_at"].null_count():
        latest = None
    else:
        latest = failures.select(pl.col("cursor_at").min()).item()
    return latest


def _mapped(frame: pl.DataFrame, parameters: InventorySyncParameters) -> tuple[pl.DataFrame, int]:
    mapping = parameters.locations
    frame = frame.with_columns(
        location_stated=pl.col("location"),
        _outside=~pl.col("location").is_in(list(mapping)),
        location=pl.col("location").replace(mapping) if mapping else pl.col("location"),
    )
    height = frame.height
    if parameters.other_locations == "skip":
        frame = frame.filter(~pl.col("_outside").fill_null(value=False))
    return frame, height - frame.height


def _read(frame: pl.DataFrame, parameters: InventorySyncParameters) -> pl.DataFrame:
    kinds = frame.schema
    quantity, reserved = parsed(pl.col("quantity")), parsed(pl.col("reserved"))
    return frame.with_columns(
        quantity_stated=pl.col("quantity"),
        quantity=quantity - reserved if parameters.source.columns.reserved else quantity,
        **{f"_{name}": pl.col(name) for name in TIMES},
        **{name: moment(name, kinds[name]) for name in TIMES},
        _reserved_read=reserved.is_not_null(),
        _quantity_read=quantity.is_not_null(),
    )


def _with_target_unit(
    frame: pl.DataFrame, units: pl.DataFrame, conversions: pl.DataFrame
) -> pl.DataFrame:
    """Add `target_uom` and whether it is `_ambiguous`.

    It is that of the same stock, else the one that the target has the item in, else, for an item
    that the target does not know, the one that there is a conversion to.
    """
    known = units.filter(pl.col("uom").is_not_null())
    own = known.select("item", "location", target_uom="uom")
    frame = frame.join(
        own, on=["item", "location"], how="left", maintain_order="left"
    ).with_columns(_ambiguous=pl.lit(value=False))
    common = conversions.filter(pl.col("item").is_null())
    for keys, choices in (
        (["item"], known.select("item", target_uom="uom")),
        (["item", "uom"], conversions.filter(pl.col("item").is_not_null())),
        (["uom"], common),
    ):
        if frame["target_uom"].null_count() and not choices.is_empty():
            frame = _with_choice(frame, choices, keys)
    return frame


def _with_choice(frame: pl.DataFrame, choices: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Fill in `target_uom` where the choices leave only one."""
    found = choices.group_by(keys).agg(
        _choice=pl.col("target_uom").first(), _choices=pl.col("target_uom").n_unique()
    )
    open_ = pl.col("target_uom").is_null() & ~pl.col("_ambiguous")
    several = (pl.col("_choices") > 1).fill_null(value=False)
    return (
        frame.join(found, on=keys, how="left", maintain_order="left")
        .with_columns(
            target_uom=pl.when(open_ & ~several)
            .then(pl.col("_choice"))
            .otherwise(pl.col("target_uom")),
            _ambiguous=pl.col("_ambiguous") | (open_ & several),
        )
        .drop("_choice", "_choices")
    )


def _first_reason(parameters: InventorySyncParameters, *, now: datetime) -> pl.Expr:
    """Name the first thing that is wrong with a row."""
    wrong_time = pl.any_horizontal(
        (pl.col(f"_{name}").is_not_null() & pl.col(name).is_null()) for name in TIMES
    )
    outside = pl.col("_outside") & pl.lit(parameters.other_locations == "fail")
    too_large = pl.col("quantity").abs() >= pl.lit(10**15).cast(QUANTITY)
    reserves = pl.lit(parameters.source.columns.reserved is not None)
    return pl.coalesce(
        _code("item_missing", pl.col("item").is_null() | (pl.col("item") == "")),
        _code("location_missing", pl.col("location").is_null() | (pl.col("location") == "")),
        _code("text_invalid", pl.any_horizontal(_unfit(name) for name in ("item", "location"))),
        _code("location_unknown", outside),
        _code("quantity_invalid", ~pl.col("_quantity_read")),
        _code("reserved_invalid", reserves & ~pl.col("_reserved_read")),
        _code("time_invalid", wrong_time),
        _code("count_in_future", pl.col("counted_at") > pl.lit(now + CLOCK_SKEW, dtype=MOMENT)),
        _code("unit_ambiguous", pl.col("_ambiguous")),
        _code("unit_unknown", ~pl.col("unit_known")),
        _code("quantity_invalid", pl.col("quantity").is_null() | too_large),
    )


def _unfit(column: str) -> pl.Expr:
    text = pl.col(column)
    return (text.str.len_chars() > TEXT_MAX) | text.str.contains("\0", literal=True)


def _code(name: str, wrong: pl.Expr) -> pl.Expr:
    return pl.when(wrong).then(pl.lit(name))


def _without_repeats(frame: pl.DataFrame, duplicates: str) -> pl.DataFrame:
    """Take rows that say the same once, or the latest one of each item and location."""
    keys = ["item", "location_stated"]
    match duplicates:
        case "latest":
            # Rows that failed stay: one of them might be the latest.
            failed = frame.filter(pl.col("code").is_not_null())
            good = frame.filter(pl.col("code").is_null()).sort("changed_at", nulls_last=False)
            latest = good.unique(keys, keep="last", maintain_order=True)
            return pl.concat([failed, latest])
        case "fail":
            # Pages that shift while they are read give some rows twice.
            said = [*keys, "quantity_stated", "reserved", "uom", *TIMES, "code"]
            return frame.unique(said, keep="first", maintain_order=True)
        case _:
            return frame


def _with_broken_groups(frame: pl.DataFrame, *, sums: bool) -> pl.DataFrame:
    """Fail all rows of an item and location when one has failed, or when they are not to be added.

    A total without one of its parts would be a wrong stock.
    """
    keys = ["item", "location"]
    several = pl.len().over([*keys, "location_stated"]) > 1
    counts = pl.col("counted_at").n_unique().over(keys) > 1
    whole = pl.col("item").is_not_null() & pl.col("location").is_not_null()
    own = pl.coalesce(
        pl.col("code"),
        pl.when(whole & several & pl.lit(not sums)).then(pl.lit("duplicate")),
        pl.when(whole & counts).then(pl.lit("counts_differ")),
    )
    frame = frame.with_columns(code=own)
    broken = pl.col("code").is_not_null().any().over(keys)
    part = pl.when(whole & broken).then(pl.lit("part_failed"))
    return frame.with_columns(code=pl.coalesce("code", part))


def _added_up(good: pl.DataFrame) -> pl.DataFrame:
    columns = ["item", "location", "source", "uom", "changed_at", "counted_at"]
    good = good.with_columns(
        source=pl.col("quantity"), uom=pl.coalesce("target_uom", "uom")
    ).select(columns)
    if not good.select("item", "location").is_duplicated().any():
        return good
    return good.group_by("item", "location", maintain_order=True).agg(
        pl.col("source").sum().cast(QUANTITY),
        pl.col("uom").first(),
        pl.col("changed_at").max(),
        pl.col("counted_at").first(),
    )
