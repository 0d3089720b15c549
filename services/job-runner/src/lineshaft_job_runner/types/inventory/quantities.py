"""Exact quantities: decimals of nine places below 10^15, as columns of polars."""

import polars as pl
from lineshaft_contracts.inventory_sync import QUANTITY_DECIMALS

QUANTITY = pl.Decimal(38, QUANTITY_DECIMALS)
WHOLE_DIGITS = 15
MOMENT = pl.Datetime("us", "UTC")
UNIT_IN_LAST_PLACE = pl.lit(10**-QUANTITY_DECIMALS).cast(QUANTITY)

_WRITTEN = rf"^[+-]?[0-9]{{1,{WHOLE_DIGITS}}}(\.[0-9]{{1,{QUANTITY_DECIMALS}}}0*)?$"
"""More decimals are zeros or refused: polars would drop them without a word."""


def parsed(text: pl.Expr) -> pl.Expr:
    """Read plain decimal text such as -12.5; NULL where it is anything else."""
    plain = pl.when(text.str.contains(_WRITTEN)).then(text)
    return plain.cast(QUANTITY, strict=False)


def written(quantity: pl.Expr) -> pl.Expr:
    """Write a quantity with the digits that it needs, as 12.5."""
    return quantity.cast(pl.String).str.strip_chars_end("0").str.strip_chars_end(".")


def last_places(quantity: pl.Expr) -> pl.Expr:
    """Count a quantity in units of its last place, as whole numbers of 128 bits."""
    return quantity.to_physical()


def from_last_places(whole: pl.Expr) -> pl.Expr:
    """Turn whole numbers of last places into the quantity that they are."""
    # A cast would multiply by 10^9; a product of decimals adds their places instead.
    return whole.cast(pl.Decimal(38, 0)) * UNIT_IN_LAST_PLACE


def moment(column: str, kind: pl.DataType) -> pl.Expr:
    """Read ISO 8601 text with a zone; NULL where it is anything else."""
    if kind == pl.String:
        return pl.col(column).str.to_datetime(
            "%+", time_unit="us", time_zone="UTC", strict=False, exact=True
        )
    return pl.col(column).cast(MOMENT)
