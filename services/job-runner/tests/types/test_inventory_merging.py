"""The three-way merge agrees with a plain evaluator, and settles after one round."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lineshaft_contracts.inventory_sync import ConflictPolicy, Decision
from lineshaft_job_runner.types.inventory.merging import (
    BASE,
    MOVED,
    SOURCE,
    TARGET,
    Absent,
    merge,
    moved_since,
    to_write,
)
from lineshaft_job_runner.types.inventory.quantities import MOMENT, QUANTITY

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
P = ConflictPolicy
D = Decision


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


@dataclass(frozen=True)
class Base:
    quantity: Decimal | None
    stated: Decimal = Decimal(0)
    named: bool = True
    counted_at: datetime | None = None
    synced_at: datetime = NOON


@dataclass(frozen=True)
class Row:
    """One item at one location, as the three sides know it."""

    source: Decimal | None = None
    target: Decimal | None = None
    base: Base | None = None
    changed_at: datetime | None = None
    target_changed_at: datetime | None = None
    counted_at: datetime | None = None
    moved: Decimal = Decimal(0)


Key = tuple[str, str]
Outcome = tuple[Decision, Decimal, Decimal | None]


def frames(rows: Mapping[Key, Row]) -> dict[str, pl.DataFrame]:
    source = [
        (*key, r.source, "pcs", r.changed_at, r.counted_at)
        for key, r in rows.items()
        if r.source is not None
    ]
    target = [
        (*key, r.target, r.target, "pcs", r.target_changed_at)
        for key, r in rows.items()
        if r.target is not None
    ]
    base = [
        (
            *key,
            r.base.quantity,
            r.base.stated,
            1,
            r.base.named,
            r.base.counted_at,
            r.base.synced_at,
        )
        for key, r in rows.items()
        if r.base is not None
    ]
    moved = [(*key, r.moved) for key, r in rows.items()]
    return {
        "source": pl.DataFrame(source, schema=SOURCE, orient="row"),
        "target": pl.DataFrame(target, schema=TARGET, orient="row"),
        "base": pl.DataFrame(base, schema=BASE, orient="row"),
        "moved": pl.DataFrame(moved, schema=MOVED, orient="row"),
    }


def merged(
    rows: Mapping[Key, Row],
    policy: ConflictPolicy,
    *,
    absent: Absent = "keep",
    bookings: bool = True,
) -> pl.DataFrame:
    given = frames(rows)
    if not bookings:
        del given["moved"]
    return merge(**given, policy=policy, absent=absent)


def outcomes(frame: pl.DataFrame) -> dict[Key, Outcome]:
    return {
        (row["item"], row["location"]): (D(row["decision"]), row["delta"], row["base_next"])
        for row in frame.iter_rows(named=True)
    }


def decide(  # noqa: C901, PLR0911 - the rules in one piece are easiest to compare.
    row: Row, policy: ConflictPolicy, *, absent: Absent, bookings: bool
) -> Outcome:
    """The rules again, one row at a time and without a data frame."""
    base = row.base.quantity if row.base else None
    source = row.source
    if source is None:
        if absent == "keep":
            return D.ABSENT, Decimal(0), base
        source = row.base.stated if row.base and absent == "same" else Decimal(0)
    target = row.target if row.target is not None else Decimal(0)
    counted, before = row.counted_at, row.base.counted_at if row.base else None
    if row.source is None:
        counted = None
    if counted is not None:
        if before is not None and counted < before:
            return D.OLD_COUNT, Decimal(0), base
        new = before is None or counted > before or source != base
        at_count = None
        if bookings:
            at_count = target - row.moved
        elif row.base and target == base and row.base.synced_at <= counted:
            at_count = target
        if new and at_count is not None:
            return D.COUNTED, source - at_count, source
    if source == target:
        return D.SAME, Decimal(0), source
    if base is None and row.target is None:
        return D.SOURCE_MOVED, source - target, source
    if base is not None and source == base:
        return D.TARGET_MOVED, Decimal(0), source
    if base is not None and target == base:
        return D.SOURCE_MOVED, source - target, source
    return contested(row, source, target, base, policy)


def contested(  # noqa: PLR0911
    row: Row, source: Decimal, target: Decimal, base: Decimal | None, policy: ConflictPolicy
) -> Outcome:
    source_won = (D.SOURCE_WON, source - target, source)
    target_won = (D.TARGET_WON, Decimal(0), source)
    conflict = (D.CONFLICT, Decimal(0), base)
    if policy is P.SUM:
        return conflict if base is None else (D.SUMMED, source - base, source)
    if policy is P.LOWEST:
        return source_won if source < target else target_won
    if policy is P.NEWEST:
        if row.changed_at is None or row.target_changed_at is None:
            return conflict
        if row.source is None or row.target is None:  # A side without the row has no time.
            return conflict
        if row.changed_at == row.target_changed_at:
            return conflict
        return source_won if row.changed_at > row.target_changed_at else target_won
    return {P.MANUAL: conflict, P.SOURCE_WINS: source_won, P.TARGET_WINS: target_won}[policy]


quantities = st.decimals(-5, 5, places=1) | st.sampled_from(
    [Decimal(0), Decimal(1), Decimal("999999999999999.999999999"), Decimal("-0.000000001")]
)
times = st.none() | st.integers(-3, 3).map(at)
bases = st.builds(
    Base,
    quantity=st.none() | quantities,
    stated=quantities,
    named=st.booleans(),
    counted_at=times,
    synced_at=st.integers(-3, 3).map(at),
)
rows_strategy = st.builds(
    Row,
    source=st.none() | quantities,
    target=st.none() | quantities,
    base=st.none() | bases,
    changed_at=times,
    target_changed_at=times,
    counted_at=times,
    moved=st.decimals(-5, 5, places=1),
)
absences = st.sampled_from(["keep", "zero", "same"])
keys = st.tuples(st.sampled_from(["a", "b", "ä", "0012"]), st.sampled_from(["x", "y", ""]))
stocks = st.dictionaries(keys, rows_strategy, max_size=12)


@given(stocks, st.sampled_from(ConflictPolicy), absences, st.booleans())
def test_every_row_is_decided_as_a_plain_evaluator_does(
    rows: dict[Key, Row], policy: ConflictPolicy, absent: Absent, bookings: bool
) -> None:
    found = outcomes(merged(rows, policy, absent=absent, bookings=bookings))
    expected = {
        key: decide(row, policy, absent=absent, bookings=bookings)
        for key, row in rows.items()
        if row.source is not None or row.base is not None
    }
    assert found == expected


def applied(rows: Mapping[Key, Row], frame: pl.DataFrame) -> dict[Key, Row]:
    """The same sides after the deltas were booked and the base was kept."""
    after = dict(rows)
    for written in to_write(frame).iter_rows(named=True):
        key = (written["item"], written["location"])
        row, delta = rows[key], written["delta"]
        target = row.target if row.target is not None or not delta else Decimal(0)
        after[key] = Row(
            source=row.source,
            target=None if target is None else target + delta,
            base=Base(
                written["base_next"],
                written["stated_next"],
                written["named"],
                written["counted_next"],
                synced_at=at(4),
            ),
            changed_at=row.changed_at,
            target_changed_at=row.target_changed_at,
            counted_at=row.counted_at,
            moved=row.moved,
        )
    return after


@given(stocks, st.sampled_from(ConflictPolicy), absences, st.booleans())
def test_the_second_time_changes_nothing(
    rows: dict[Key, Row], policy: ConflictPolicy, absent: Absent, bookings: bool
) -> None:
    first = merged(rows, policy, absent=absent, bookings=bookings)
    again = applied(rows, first)
    second = merged(again, policy, absent=absent, bookings=bookings)
    assert to_write(second).is_empty()
    assert set(second["delta"]) <= {Decimal(0)}


def one(policy: ConflictPolicy = P.MANUAL, **sides: Any) -> Outcome:
    (outcome,) = outcomes(merged({("a", "x"): Row(**sides)}, policy)).values()
    return outcome


HUNDRED = Base(Decimal(100), Decimal(100))


@pytest.mark.parametrize(
    ("policy", "decision", "delta"),
    [
        (P.MANUAL, D.CONFLICT, 0),
        (P.SOURCE_WINS, D.SOURCE_WON, 30),
        (P.TARGET_WINS, D.TARGET_WON, 0),
        (P.LOWEST, D.TARGET_WON, 0),
        (P.SUM, D.SUMMED, 20),
        (P.NEWEST, D.CONFLICT, 0),
    ],
)
def test_policies_decide_only_where_both_moved(
    policy: ConflictPolicy, decision: Decision, delta: int
) -> None:
    contested = one(policy, base=HUNDRED, source=Decimal(120), target=Decimal(90))
    assert contested[:2] == (decision, delta)
    received = one(policy, base=HUNDRED, source=Decimal(120), target=Decimal(100))
    assert received == (D.SOURCE_MOVED, 20, 120)
    consumed = one(policy, base=HUNDRED, source=Decimal(100), target=Decimal(90))
    assert consumed == (D.TARGET_MOVED, 0, 100)
    agreed = one(policy, base=HUNDRED, source=Decimal(90), target=Decimal(90))
    assert agreed == (D.SAME, 0, 90)


def test_the_later_change_wins() -> None:
    sides = {"base": HUNDRED, "source": Decimal(120), "target": Decimal(90)}
    later = one(P.NEWEST, **sides, changed_at=at(2), target_changed_at=at(1))
    assert later == (D.SOURCE_WON, 30, 120)
    earlier = one(P.NEWEST, **sides, changed_at=at(1), target_changed_at=at(2))
    assert earlier == (D.TARGET_WON, 0, 120)


def test_a_count_of_yesterday_keeps_what_was_booked_since() -> None:
    # At the count the book said 100, the shelf 97; 40 were used since, so 57 are left.
    decision, delta, base = one(
        base=HUNDRED,
        source=Decimal(97),
        target=Decimal(60),
        counted_at=at(-24),
        moved=Decimal(-40),
    )
    assert (decision, delta, base) == (D.COUNTED, -3, 97)


def test_a_corrected_count_replaces_the_first_one() -> None:
    decision, delta, base = one(
        base=Base(Decimal(97), counted_at=at(-24)),
        source=Decimal(99),
        target=Decimal(57),
        counted_at=at(-24),
        moved=Decimal(-40),
    )
    assert (decision, delta, base) == (D.COUNTED, 2, 99)


def test_only_bookings_after_the_count_are_left_out_of_it() -> None:
    source = frames({("a", "x"): Row(source=Decimal(97), counted_at=NOON)})["source"]
    bookings = pl.DataFrame(
        [
            ("a", "x", Decimal(-1), at(-1)),
            ("a", "x", Decimal(-10), NOON),
            ("a", "x", Decimal(-100), at(1)),
            ("b", "x", Decimal(-7), at(1)),
        ],
        schema={"item": pl.String, "location": pl.String, "quantity": QUANTITY, "at": MOMENT},
        orient="row",
    )
    assert moved_since(source, bookings).rows() == [("a", "x", Decimal(-100))]


def test_stock_of_the_target_alone_is_none_of_the_sync() -> None:
    assert merged({("a", "x"): Row(target=Decimal(5))}, P.SOURCE_WINS).is_empty()
