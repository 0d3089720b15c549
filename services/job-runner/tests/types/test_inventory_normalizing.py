"""What a source states becomes stock in the target's terms, exactly, or a failed row."""

from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.inventory_sync import UnitConversion
from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.inventory.normalizing import Stock, normalize
from lineshaft_job_runner.types.inventory.quantities import QUANTITY
from lineshaft_job_runner.types.inventory.stating import STATED, from_records
from lineshaft_job_runner.types.inventory.units import conversions_of, convert
from pydantic import ValidationError

from .inventory_plant import parameters

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
UNITS = {"item": pl.String, "location": pl.String, "uom": pl.String}
KG = {"item": "steel", "location": "A", "quantity": "1", "uom": "lb"}
POUND = UnitConversion(uom="lb", target_uom="kg", factor=Decimal("0.45359237"))
"""Exact since the agreement of 1959."""


def stated(*rows: dict[str, Any]) -> pl.DataFrame:
    filled = [{name: row.get(name) for name in STATED} for row in rows]
    return pl.DataFrame(filled, schema=dict.fromkeys(STATED, pl.String))


def stock(
    *rows: dict[str, Any],
    units: list[tuple[str, str, str | None]] | None = None,
    conversions: tuple[UnitConversion, ...] = (),
    **changed: Any,
) -> Stock:
    return normalize(
        stated(*rows),
        pl.DataFrame(units or [], schema=UNITS, orient="row"),
        conversions_of(conversions),
        parameters(**changed),
        now=NOW,
    )


def row(
    item: str = "bolt", location: str = "A", quantity: str = "1", **more: Any
) -> dict[str, Any]:
    return {"item": item, "location": location, "quantity": quantity, **more}


def held(found: Stock) -> dict[tuple[str, str], Decimal]:
    shown = found.rows.select("item", "location", "source")
    return {(item, location): quantity for item, location, quantity in shown.iter_rows()}


def codes(found: Stock) -> list[tuple[int, str]]:
    return list(found.failures.select("row", "code").iter_rows())


@pytest.mark.parametrize(
    "text",
    [
        "", "abc", "1e3", "NaN", "1,5", "1 000", "0x10", "--1", "1.", ".5", "1.0000000001",
        "1234567890123456", "٣",
    ],
)  # fmt: skip
def test_what_is_no_plain_number_is_a_failed_row(text: str) -> None:
    found = stock(row(), row("nut", quantity=text))
    assert codes(found) == [(2, "quantity_invalid")]
    assert held(found) == {("bolt", "A"): Decimal(1)}


def test_numbers_are_exact_to_nine_decimals() -> None:
    texts = ["0.1", "-7", "+4", "999999999999999.999999999", "0.000000001", "0.5000000000"]
    rows = [row(f"item-{number}", quantity=text) for number, text in enumerate(texts)]
    found = stock(*rows, decimals=9)
    assert list(held(found).values()) == [Decimal(text) for text in texts]


def test_article_numbers_stay_text() -> None:
    records = [{"item": "000123", "location": "A", "quantity": 5}, {"item": "1E5", "quantity": 7}]
    frame = from_records(records, parameters().source.columns, None)
    assert frame["item"].to_list() == ["000123", "1E5"]
    assert frame["quantity"].to_list() == ["5", "7"]


def test_half_a_character_is_replaced() -> None:
    records = [{"item": "a\ud800", "location": "A", "quantity": 5}]
    assert from_records(records, parameters().source.columns, None)["item"].to_list() == ["a?"]


def test_units_are_converted_per_material_before_those_for_all() -> None:
    own = UnitConversion(item="film", uom="roll", target_uom="kg", factor=Decimal("12.5"))
    common = UnitConversion(uom="roll", target_uom="kg", factor=Decimal(20))
    found = stock(
        row("film", quantity="2", uom="roll"),
        row("foil", quantity="2", uom="roll"),
        row("wire", quantity="2", uom="kg"),
        units=[("film", "A", "kg"), ("foil", "B", "kg"), ("wire", "A", "kg")],
        conversions=(own, common),
    )
    assert held(found) == {("film", "A"): 25, ("foil", "A"): 40, ("wire", "A"): 2}
    assert (found.converted, found.rounded) == (2, 0)
    assert found.rows["uom"].to_list() == ["kg", "kg", "kg"]


def test_a_unit_without_conversion_fails_and_is_never_guessed() -> None:
    found = stock(
        row("steel", quantity="2", uom="lb"),
        row("wire", "C", "2", uom="m"),
        units=[("steel", "A", "kg"), ("wire", "A", "kg"), ("wire", "B", "m")],
    )
    assert codes(found) == [(1, "unit_unknown"), (2, "unit_ambiguous")]


def test_a_new_item_gets_the_unit_that_there_is_a_conversion_to() -> None:
    packs = UnitConversion(uom="pack10", target_uom="pcs", factor=Decimal(10))
    film = UnitConversion(item="film", uom="roll", target_uom="kg", factor=Decimal("12.5"))
    area = UnitConversion(item="film", uom="roll", target_uom="m2", factor=Decimal(80))
    found = stock(
        row("bolt", quantity="3", uom="pack10"),
        row("film", quantity="3", uom="roll"),
        row("wire", quantity="3", uom="m"),
        conversions=(packs, film, area),
    )
    assert held(found) == {("bolt", "A"): 30, ("wire", "A"): 3}
    assert found.rows["uom"].to_list() == ["pcs", "m"]
    assert codes(found) == [(2, "unit_ambiguous")]


def test_what_does_not_divide_is_rounded_and_said() -> None:
    dozen = UnitConversion(uom="pcs", target_uom="dozen", factor=Decimal(1), divisor=Decimal(12))
    found = stock(
        row("bolt", quantity="24", uom="pcs"),
        row("nut", quantity="7", uom="pcs"),
        units=[("bolt", "A", "dozen"), ("nut", "A", "dozen")],
        conversions=(dozen,),
        decimals=4,
    )
    assert held(found) == {("bolt", "A"): 2, ("nut", "A"): Decimal("0.5833")}
    assert (found.converted, found.rounded) == (2, 1)


quantities = st.decimals(-(10**14), 10**14, places=9) | st.decimals(-10, 10, places=3)
terms = st.integers(1, 10**12)


@given(quantities, terms, terms, st.integers(0, 9))
def test_a_conversion_is_the_fraction_rounded_half_to_even(
    quantity: Decimal, factor: int, divisor: int, decimals: int
) -> None:
    conversion = UnitConversion(
        uom="a", target_uom="b", factor=Decimal(factor), divisor=Decimal(divisor)
    )
    frame = pl.DataFrame(
        {"item": ["x"], "quantity": [quantity], "uom": ["a"], "target_uom": ["b"]},
        schema_overrides={"quantity": QUANTITY},
    )
    exact = Fraction(quantity) * conversion.fraction()
    (found,) = convert(frame, conversions_of([conversion]), decimals=decimals).to_dicts()
    if abs(exact) < 10**15:
        with localcontext() as context:
            context.prec = 100
            scaled = exact * 10**decimals
            expected = Decimal(round(scaled)).scaleb(-decimals)  # round() is half to even.
            assert Decimal(found["quantity"]) == expected
        assert found["rounded"] is (scaled.denominator != 1)


def test_a_conversion_needs_a_fraction_that_fits() -> None:
    with pytest.raises(ValidationError, match="more than 12 digits"):
        UnitConversion(uom="a", target_uom="b", factor=Decimal("1.0000000000001"))
    with pytest.raises(PermanentError, match="above 0") as raised:
        conversions_of([], [("bolt", "pcs", "kg", Decimal(0), 1)])
    assert raised.value.code == "conversion_invalid"


def test_several_locations_become_one() -> None:
    found = stock(
        row(location="WH1", quantity="1"),
        row(location="WH2", quantity="2.5"),
        row(location="X", quantity="9"),
        locations={"WH1": "store", "WH2": "store"},
        other_locations="skip",
    )
    assert held(found) == {("bolt", "store"): Decimal("3.5")}
    assert found.skipped == 1


def test_an_unknown_location_can_be_a_failure() -> None:
    found = stock(row(location="X"), locations={"WH1": "store"}, other_locations="fail")
    assert codes(found) == [(1, "location_unknown")]


def test_a_total_without_one_of_its_parts_is_no_stock() -> None:
    found = stock(row(quantity="1"), row(quantity="many"), row("nut"), duplicates="sum")
    assert codes(found) == [(1, "part_failed"), (2, "quantity_invalid")]
    assert held(found) == {("nut", "A"): 1}


def test_repeated_rows_are_lots_an_error_or_the_latest() -> None:
    lots = [row(quantity="1"), row(quantity="2")]
    assert held(stock(*lots, duplicates="sum")) == {("bolt", "A"): 3}
    assert codes(stock(*lots)) == [(1, "duplicate"), (2, "duplicate")]
    assert held(stock(row(), row())) == {("bolt", "A"): 1}
    columns = {"uom": None, "changed_at": "changed_at"}
    source = {"kind": "file", "source": "drop", "path": "stock.csv", "columns": columns}
    newest = stock(
        row(quantity="2", changed_at="2026-11-24T07:00:00Z"),
        row(quantity="1", changed_at="2026-11-24T06:00:00Z"),
        source=source,
        duplicates="latest",
    )
    assert held(newest) == {("bolt", "A"): 2}


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"item": None}, "item_missing"),
        ({"location": None}, "location_missing"),
        ({"item": "x" * 201}, "text_invalid"),
        ({"location": "A\0"}, "text_invalid"),
        ({"changed_at": "yesterday"}, "time_invalid"),
        ({"changed_at": "2026-11-24T06:00:00"}, "time_invalid"),
        ({"counted_at": (NOW + timedelta(hours=1)).isoformat()}, "count_in_future"),
    ],
)
def test_what_a_row_lacks_is_named(more: dict[str, Any], code: str) -> None:
    assert codes(stock({**row(), **more})) == [(1, code)]


def test_counts_of_different_times_are_not_added_up() -> None:
    times = ["2026-11-24T06:00:00Z", "2026-11-24T07:00:00Z"]
    found = stock(*(row(location=f"W{n}", counted_at=t) for n, t in enumerate(times)),
                  locations={"W0": "store", "W1": "store"})  # fmt: skip
    assert [code for _, code in codes(found)] == ["counts_differ", "counts_differ"]


def test_the_cursor_stays_before_a_row_that_failed() -> None:
    first, second = "2026-11-24T06:00:00Z", "2026-11-24T07:00:00Z"
    good = stock(row(cursor_at=first), row("nut", cursor_at=second))
    assert good.cursor == datetime(2026, 11, 24, 7, tzinfo=UTC)
    bad = stock(row(quantity="x", cursor_at=first), row("nut", cursor_at=second))
    assert bad.cursor == datetime(2026, 11, 24, 6, tzinfo=UTC)
    assert stock(row(quantity="x"), row("nut", cursor_at=second)).cursor is None
    assert stock().cursor is None


def test_pounds_become_kilograms_exactly() -> None:
    units: list[tuple[str, str, str | None]] = [("steel", "A", "kg")]
    (found,) = held(stock(KG, units=units, conversions=(POUND,), decimals=8)).values()
    assert found == Decimal("0.45359237")
    with localcontext() as context:
        context.rounding = ROUND_HALF_EVEN
        (rounded,) = held(stock(KG, units=units, conversions=(POUND,), decimals=6)).values()
        assert rounded == Decimal("0.45359237").quantize(Decimal("0.000001"))
