"""Applies differences to the target, chunk by chunk, each with its ledger in one transaction."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import polars as pl
from lineshaft_contracts.inventory_sync import InventorySyncParameters

from lineshaft_job_runner.job_data import (
    Change,
    Operation,
    RowsRefusedError,
    Staging,
    Target,
    Transaction,
)
from lineshaft_job_runner.job_ledger import LedgerEntry
from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

CHUNK_ROWS = 5_000
"""Stock that is locked at a time: bookings of the application wait for no more than that."""

NEEDED = (
    "item",
    "location",
    "uom",
    "known",
    "revision",
    "base",
    "base_next",
    "stated_next",
    "named",
    "counted_at",
    "counted_next",
    "target",
    "delta",
    "decision",
)
"""Columns of a row here."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What became of the rows."""

    changed: int
    """Stock with a difference."""
    created: int
    """Of those: stock that was not there."""
    overtaken: frozenset[tuple[str, str]]
    """Rows that another run of the same sync was faster with."""


async def apply(
    context: JobContext, target: Target, rows: pl.DataFrame, parameters: InventorySyncParameters
) -> Applied:
    """Add each `delta` to the stock, once, and remember the rows; `rows` come from `to_write`.

    A row is claimed by its revision in the transaction that changes the stock: whoever repeats
    this, after any interruption, finds it claimed. Stock that was booked meanwhile stays booked.
    """
    rows = rows.select(NEEDED)
    changed = created = 0
    overtaken: set[tuple[str, str]] = set()
    for start in range(0, rows.height, CHUNK_ROWS):
        stop_if_cancelled(context)
        chunk = rows.slice(start, CHUNK_ROWS).to_dicts()
        async with target.transaction() as transaction:
            ledger = transaction.sync(parameters.sync, parameters.target.entity)
            claimed = await ledger.claim(context.job_id, [_entry(row) for row in chunk])
            ours = [chunk[position] for position in claimed]
            moved = [row for row in ours if row["delta"]]
            await _Stock(transaction, parameters).change(moved)
        changed += len(moved)
        created += sum(not row["known"] for row in moved)
        free = set(claimed)
        overtaken |= {_key(row) for number, row in enumerate(chunk) if number not in free}
        done = start + len(chunk)
        context.progress(50 + 40 * done // rows.height, 100, f"applied {done} of {rows.height}")
    return Applied(changed=changed, created=created, overtaken=frozenset(overtaken))


def _key(row: Row) -> tuple[str, str]:
    return row["item"], row["location"]


def _entry(row: Row) -> LedgerEntry:
    return LedgerEntry(
        item=row["item"],
        location=row["location"],
        revision=row["revision"] or 0,
        base=row["base_next"],
        stated=row["stated_next"],
        named=row["named"],
        counted_at=row["counted_next"],
        delta=row["delta"],
        decision=row["decision"],
        base_before=row["base"],
        target_before=row["target"],
        effective_at=row["counted_at"] if row["decision"] == "counted" else None,
    )


class _Stock:
    """Changes stock in one transaction."""

    def __init__(self, transaction: Transaction, parameters: InventorySyncParameters) -> None:
        self._transaction = transaction
        self._entity = parameters.target.entity
        self._columns = parameters.target.columns
        self._may_be_negative = parameters.guards.negative_stock == "allow"
        self._now = datetime.now(UTC)

    async def change(self, rows: Sequence[Row]) -> None:
        """Add to what is there, and insert what is not."""
        there = [row for row in rows if row["known"]]
        if there:
            await self._add(there)
        for has_unit in (True, False):
            # Without a unit the target's own default is the best guess.
            new = [row for row in rows if not row["known"] and bool(row["uom"]) is has_unit]
            if new:
                await self._insert(new, with_unit=has_unit)

    async def _add(self, rows: Sequence[Row]) -> None:
        staging = await self._stage(rows, with_unit=False)
        # Locked first, in the order of their keys: two that change the same stock do not deadlock.
        before = await self._on_hand(staging)
        letters = await self._apply(staging, Operation.UPDATE)
        after = await self._on_hand(staging)
        for number, row in enumerate(rows):
            if letters[number] != Change.UPDATED:
                raise _changed_meanwhile(row, "is gone")
            self._check(row, before[number], after[number])

    async def _insert(self, rows: Sequence[Row], *, with_unit: bool) -> None:
        staging = await self._stage(rows, with_unit=with_unit)
        letters = await self._apply(staging, Operation.INSERT)
        after = await self._on_hand(staging)
        for number, row in enumerate(rows):
            if letters[number] != Change.INSERTED:
                raise _changed_meanwhile(row, "has appeared")
            self._check(row, Decimal(0), after[number])

    async def _stage(self, rows: Sequence[Row], *, with_unit: bool) -> Staging:
        columns = self._columns
        values = {
            columns.item: [row["item"] for row in rows],
            columns.location: [row["location"] for row in rows],
            columns.on_hand: [row["delta"] for row in rows],
        }
        if columns.changed_at is not None:
            values[columns.changed_at] = [self._now] * len(rows)
        if with_unit and columns.uom is not None:
            values[columns.uom] = [row["uom"] for row in rows]
        staged = list(zip(*values.values(), strict=True))
        return await self._transaction.stage(self._entity, list(values), staged)

    async def _apply(self, staging: Staging, operation: Operation) -> str:
        add = [self._columns.on_hand] if operation is Operation.UPDATE else []
        try:
            return await self._transaction.apply(staging, operation, add=add)
        except RowsRefusedError as error:
            raise PermanentError(
                "stock_refused",
                f"the target refuses a change of stock ({error.sqlstate}): {error}; nothing of "
                "this chunk was applied, correct the source or the target's rule",
            ) from error

    async def _on_hand(self, staging: Staging) -> dict[int, Decimal]:
        found = await self._transaction.current(staging, [self._columns.on_hand])
        return {number: values[0] or Decimal(0) for number, values in found.items()}

    def _check(self, row: Row, before: Decimal, after: Decimal) -> None:
        if after - before != row["delta"]:
            raise PermanentError(
                "quantity_rounded",
                f"the target made {after - before:+f} of the difference {row['delta']:+f} of "
                f"{row['item']!r} at {row['location']!r}: set `decimals` to what its column holds",
            )
        if after < 0 and row["delta"] < 0 and not self._may_be_negative:
            raise PermanentError(
                "guard_negative",
                f"{row['item']!r} at {row['location']!r} would be {after:f}: it was booked "
                "meanwhile. Nothing of this chunk was applied. Run the sync again, or set "
                "guards.negative_stock to allow",
            )


def _changed_meanwhile(row: Row, how: str) -> RetryableError:
    return RetryableError(
        "stock_changed",
        f"the stock of {row['item']!r} at {row['location']!r} {how} since it was compared",
    )
