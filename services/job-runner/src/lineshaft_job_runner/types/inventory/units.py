"""Converts quantities between units of measure, per material, without a rounding error."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import polars as pl
from lineshaft_contracts.inventory_sync import (
    CONVERSION_TERM_MAX,
    QUANTITY_DECIMALS,
    UnitConversion,
)
from pydantic import ValidationError

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.inventory.quantities import from_last_places, last_places

SCHEMA = {
    "item": pl.String,
    "uom": pl.String,
    "target_uom": pl.String,
    "numerator": pl.Int128,
    "denominator": pl.Int128,
}


def conversions_of(
    given: Iterable[UnitConversion], further: Iterable[tuple[Any, ...]] = ()
) -> pl.DataFrame:
    """Give item (NULL for all), uom, target_uom, numerator and denominator.

    `further` are rows (item, uom, target_uom, factor, divisor) of a data source; those of `given`
    come first, and the first one of an item and two units counts.
    """
    rows = [_row(conversion) for conversion in given]
    rows += [_row(_checked(row)) for row in further]
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    return frame.unique(["item", "uom", "target_uom"], keep="first", maintain_order=True)


def _row(conversion: UnitConversion) -> tuple[Any, ...]:
    ratio = conversion.fraction()
    return (
        conversion.item,
        conversion.uom,
        conversion.target_uom,
        ratio.numerator,
        ratio.denominator,
    )


def _checked(row: tuple[Any, ...]) -> UnitConversion:
    item, uom, target_uom, factor, divisor = row
    try:
        return UnitConversion(
            item=item,
            uom=uom,
            target_uom=target_uom,
            factor=Decimal(factor),
            divisor=Decimal(divisor),
        )
    except (ValidationError, TypeError) as error:
        raise PermanentError(
            "conversion_invalid",
            f"the conversion of {item!r} from {uom!r} to {target_uom!r} is factor {factor} / "
            f"{divisor}: both have to be above 0, and as a fraction of at most "
            f"{len(str(CONVERSION_TERM_MAX)) - 1} digits; correct its row",
        ) from error


def convert(stock: pl.DataFrame, conversions: pl.DataFrame, *, decimals: int) -> pl.DataFrame:
    """Turn `quantity` from `uom` into `target_uom`; add `unit_known`, `converted` and `rounded`.

    A unit that is missing on either side, or the same on both, needs no conversion. A result with
    more than `decimals` places is rounded, half to even; nothing is rounded before that.
    """
    foreign = (pl.col("uom") != pl.col("target_uom")).fill_null(value=False)
    own = conversions.filter(pl.col("item").is_not_null())
    common = conversions.filter(pl.col("item").is_null()).drop("item")
    joined = stock.join(
        own, on=["item", "uom", "target_uom"], how="left", maintain_order="left"
    ).join(common, on=["uom", "target_uom"], how="left", suffix="_common", maintain_order="left")
    one = pl.lit(1, dtype=pl.Int128)
    known = pl.coalesce("numerator", "numerator_common").is_not_null()
    step = 10 ** (QUANTITY_DECIMALS - decimals)
    joined = joined.with_columns(
        unit_known=~foreign | known,
        converted=foreign & known,
        _up=pl.when(foreign)
        .then(pl.coalesce("numerator", "numerator_common", one))
        .otherwise(one),
        _by=pl.when(foreign)
        .then(pl.coalesce("denominator", "denominator_common", one))
        .otherwise(one)
        * step,
    )
    scaled = last_places(pl.col("quantity")) * pl.col("_up")
    joined = joined.with_columns(_sign=scaled.sign(), _size=scaled.abs()).with_columns(
        _whole=pl.col("_size") // pl.col("_by"), _rest=pl.col("_size") % pl.col("_by")
    )
    twice, whole, by = pl.col("_rest") * 2, pl.col("_whole"), pl.col("_by")
    up = ((twice > by) | ((twice == by) & (whole % 2 == 1))).cast(pl.Int128)
    places = pl.col("_sign") * (whole + up) * step
    return joined.with_columns(
        quantity=from_last_places(places), rounded=(pl.col("_rest") != 0).fill_null(value=False)
    ).select(*stock.columns, "unit_known", "converted", "rounded")
