"""What is remembered of a sync, and the stock and bookings of the target, as data frames."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from lineshaft_contracts.inventory_sync import (
    ConversionQuery,
    InventorySyncParameters,
    StockMovements,
    StockTarget,
)

from lineshaft_job_runner.job_data import ColumnType, Entity, Selection, Source, Target
from lineshaft_job_runner.job_ledger import SyncState, Write
from lineshaft_job_runner.job_type import JobContext, PermanentError
from lineshaft_job_runner.types.inventory.gathering import copied, table_of
from lineshaft_job_runner.types.inventory.merging import BASE, TARGET
from lineshaft_job_runner.types.inventory.quantities import MOMENT, QUANTITY, parsed

T = ColumnType
BASE_COLUMNS: Mapping[str, ColumnType] = {
    "item": T.TEXT,
    "location": T.TEXT,
    "base": T.DECIMAL,
    "stated": T.DECIMAL,
    "revision": T.INTEGER,
    "named": T.INTEGER,
    "base_counted_at": T.TIMESTAMP,
    "synced_at": T.TIMESTAMP,
}
BOOKED = {"item": pl.String, "location": pl.String, "quantity": QUANTITY, "at": MOMENT}
BOOKED_COLUMNS: Mapping[str, ColumnType] = {
    "item": T.TEXT,
    "location": T.TEXT,
    "quantity": T.DECIMAL,
    "at": T.TIMESTAMP,
}
EARLIER_COLUMNS: Mapping[str, ColumnType] = {
    "item": T.TEXT,
    "location": T.TEXT,
    "base": T.DECIMAL,
    "source": T.DECIMAL,
    "target": T.DECIMAL,
    "decision": T.TEXT,
    "delta": T.DECIMAL,
}


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What earlier runs left."""

    base: pl.DataFrame
    """Columns BASE."""
    earlier: pl.DataFrame
    """Differences that an earlier attempt of this job applied; columns EARLIER_COLUMNS."""


async def state_of(target: Target, parameters: InventorySyncParameters) -> SyncState:
    """Read where the last run ended; makes the tables when this is the first one."""
    async with target.transaction() as transaction:
        ledger = transaction.sync(parameters.sync, parameters.target.entity)
        if not parameters.dry_run:
            await ledger.prepare()
        state = await ledger.state()
    if state.compares not in {None, compares(parameters)}:
        raise PermanentError(
            "sync_compares_differ",
            f"the sync {parameters.sync!r} compares {state.compares}: use another name to compare "
            f"{compares(parameters)}",
        )
    return state


def compares(parameters: InventorySyncParameters) -> str:
    """Say what base values are of; those of a sync must all be of the same."""
    return f"{parameters.compare} of {parameters.target.entity}"


async def recall(target: Target, parameters: InventorySyncParameters, job_id: str) -> Memory:
    """Read the base values; before the stock, so that a value that is older is noticed."""
    async with target.transaction() as transaction:
        ledger = transaction.sync(parameters.sync, parameters.target.entity)
        base = await _collected(ledger.base)
        earlier = await _collected(lambda write: ledger.applied_by(job_id, write))
    frame = table_of(base, BASE_COLUMNS).with_columns(
        _exact("base"),
        _exact("stated"),
        pl.col("revision").cast(pl.Int64),
        named=pl.col("named") == "1",
    )
    return Memory(
        base=frame.select(pl.col(name).cast(kind) for name, kind in BASE.items()),
        earlier=table_of(earlier, EARLIER_COLUMNS).with_columns(
            _exact("base"), _exact("source"), _exact("target"), _exact("delta")
        ),
    )


async def applied_after(
    target: Target, parameters: InventorySyncParameters, moment: datetime
) -> pl.DataFrame:
    """Read what all syncs applied after a moment; columns BOOKED."""
    async with target.transaction() as transaction:
        ledger = transaction.sync(parameters.sync, parameters.target.entity)
        content = await _collected(lambda write: ledger.applied(write, after=moment))
    return table_of(content, BOOKED_COLUMNS).with_columns(_exact("quantity"))


async def stock_of(
    context: JobContext, source: Source, target: StockTarget, *, compare: str
) -> pl.DataFrame:
    """Read the stock; columns TARGET."""
    columns = target.columns
    names = [
        columns.item,
        columns.location,
        columns.on_hand,
        *(name for name in (columns.uom, columns.reserved, columns.changed_at) if name),
    ]
    selection = Selection(entity=target.entity, columns=names)
    table = await copied(context, source, selection, {}, names=[], digest=None)
    frame = table.select(
        item=pl.col(columns.item),
        location=pl.col(columns.location),
        on_hand=parsed(_number(columns.on_hand)),
        _reserved=parsed(_number(columns.reserved)),
        uom=pl.lit(None, pl.String) if columns.uom is None else pl.col(columns.uom),
        target_changed_at=(
            pl.lit(None, MOMENT) if columns.changed_at is None else pl.col(columns.changed_at)
        ),
    )
    unread = frame.filter(pl.any_horizontal(pl.col("on_hand", "_reserved").is_null()))
    if unread.height:
        item, location = unread.row(0)[:2]
        raise PermanentError(
            "stock_unfit",
            f"the target's stock of {item!r} at {location!r} is no number with at most 15 digits "
            "and 9 decimals",
        )
    compared = pl.col("on_hand") - pl.col("_reserved")
    target_quantity = compared if compare == "available" else pl.col("on_hand")
    return frame.with_columns(target=target_quantity.cast(QUANTITY)).select(list(TARGET))


async def booked_after(
    context: JobContext, source: Source, movements: StockMovements, moment: datetime
) -> pl.DataFrame:
    """Read what the application booked after a moment; columns BOOKED."""
    names = [movements.item, movements.location, movements.quantity, movements.booked_at]
    parameters = {**movements.query_parameters, movements.parameter: moment.isoformat()}
    table = await copied(context, source, movements.query, parameters, names=names, digest=None)
    frame = table.select(
        item=pl.col(movements.item),
        location=pl.col(movements.location),
        quantity=parsed(pl.col(movements.quantity)),
        at=pl.col(movements.booked_at),
    )
    if frame.schema["at"] != MOMENT or frame["quantity"].null_count() or frame["at"].null_count():
        raise PermanentError(
            "movements_unfit",
            f"each row of {movements.query!r} needs a number in {movements.quantity!r} and a "
            f"timestamp in {movements.booked_at!r}",
        )
    return frame


async def conversions_in(source: Source, query: ConversionQuery) -> list[tuple[object, ...]]:
    """Read rows (item, uom, target_uom, factor, divisor)."""
    names = [query.item, query.uom, query.target_uom, query.factor]
    found: list[tuple[object, ...]] = []
    async with source.read(query.query, query.query_parameters) as rows:
        columns = list(rows.columns)
        wanted = names if query.divisor is None else [*names, query.divisor]
        if missing := [name for name in wanted if name not in columns]:
            raise PermanentError(
                "column_missing",
                f"the query {query.query!r} has no column {', '.join(missing)}; it has: "
                f"{', '.join(columns)}",
            )
        places = [columns.index(name) for name in wanted]
        async for batch in rows.batches():
            for row in batch:
                picked = [row[place] for place in places]
                found.append((*picked, 1) if query.divisor is None else tuple(picked))
    return found


def check_entity(entity: Entity, target: StockTarget) -> None:
    """Raise PermanentError unless the entity is stock by item and location."""
    columns = target.columns
    if set(entity.key) != {columns.item, columns.location}:
        raise PermanentError(
            "entity_unfit",
            f"the key of entity {entity.name!r} is ({', '.join(entity.key)}), but has to be "
            f"({columns.item}, {columns.location})",
        )
    wanted = {
        columns.item: T.TEXT,
        columns.location: T.TEXT,
        columns.on_hand: T.DECIMAL,
        columns.uom: T.TEXT,
        columns.reserved: T.DECIMAL,
        columns.changed_at: T.TIMESTAMP,
    }
    for name, kind in wanted.items():
        if name is not None and entity.columns.get(name) is not kind:
            raise PermanentError(
                "entity_unfit",
                f"column {name!r} of entity {entity.name!r} is "
                f"{entity.columns.get(name, 'missing')}, but has to be {kind}: correct the "
                "entity or `target.columns`",
            )


async def _collected(
    send: Callable[[Write], Awaitable[None]],
) -> bytes:
    blocks: list[bytes] = []

    async def write(block: bytes) -> None:
        blocks.append(block)

    await send(write)
    return b"".join(blocks)


def _exact(column: str) -> pl.Expr:
    return pl.col(column).cast(QUANTITY)


def _number(column: str | None) -> pl.Expr:
    # What adds to a quantity takes NULL for nothing, too.
    return pl.lit("0") if column is None else pl.col(column).fill_null("0")
