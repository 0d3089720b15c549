"""The database of the MES; the only module that runs SQL."""

import csv
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from typing import TYPE_CHECKING, Any, TypeAlias

import asyncpg

from plant import planning
from plant.booking import STATEMENTS
from plant.calendar import SHIFT, Shift, next_shift
from plant.event import PlantEvent
from plant.layout import LINES, RAW_STORE
from plant.simulation import simulate

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

PLANNED_ORDERS = 48
SPARE_PARTS = 240
ONE_AT_A_TIME = 0x706C616E
"""Key of the advisory lock under which the schema is made and filled."""


@asynccontextmanager
async def connect(url: str) -> "AsyncGenerator[Store]":
    """Open the database, and make its tables when they are missing."""
    async with asyncpg.create_pool(url, min_size=1, max_size=4, command_timeout=60) as pool:
        store = Store(pool)
        await store.create_schema()
        yield store


class Store:
    """Orders, lots, stock, measurements and downtime of the plant."""

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool

    async def create_schema(self) -> None:
        """Make the tables that are missing."""
        schema = files("plant").joinpath("schema.sql").read_text(encoding="utf-8")
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", ONE_AT_A_TIME)
            await connection.execute(schema)
            await connection.executemany(
                "INSERT INTO lines (line, ideal_cycle_seconds) VALUES ($1, $2) "
                "ON CONFLICT DO NOTHING",
                [(line.name, line.seconds_per_piece) for line in LINES],
            )

    async def ready(self) -> bool:
        """Tell whether the database answers."""
        return await self._pool.fetchval("SELECT true", timeout=2) is True

    async def seed(self, shifts: Sequence[Shift]) -> bool:
        """Fill empty tables with the past shifts and with what is planned; False when not empty.

        The last shift's end is what the dates of planned orders are counted from.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock($1)", ONE_AT_A_TIME)
            if await connection.fetchval("SELECT EXISTS (SELECT FROM shifts)"):
                return False
            await _seed_stock(connection)
            await _seed_erp_stock(connection)
            await _seed_measurements(connection)
            for shift in shifts:
                await _book(connection, shift, simulate(shift), published_at=shift.end)
            await _seed_planned_orders(connection, shifts[-1].end)
            await _seed_planning(connection)
        return True

    async def open_shift(self, now: datetime) -> Shift:
        """Return the shift to publish: one that was not published to its end, else a new one."""
        interrupted = await self._pool.fetchrow(
            "SELECT started_at, finished_at FROM shifts WHERE published_at IS NULL "
            "ORDER BY started_at LIMIT 1"
        )
        if interrupted is not None:
            return Shift(interrupted["started_at"], interrupted["finished_at"])
        last_end = await self._pool.fetchval("SELECT max(finished_at) FROM shifts")
        return next_shift(last_end or now - SHIFT, now)

    async def book(self, shift: Shift, events: Sequence[PlantEvent]) -> bool:
        """Write a shift into the tables; False when it is there already."""
        async with self._pool.acquire() as connection, connection.transaction():
            return await _book(connection, shift, events, published_at=None)

    async def mark_published(self, shift: Shift) -> None:
        """Remember that all events of the shift are safe with Lineshaft."""
        await self._pool.execute(
            "UPDATE shifts SET published_at = now() WHERE started_at = $1", shift.start
        )


async def _book(
    connection: "Connection",
    shift: Shift,
    events: Sequence[PlantEvent],
    *,
    published_at: datetime | None,
) -> bool:
    first = await connection.fetchval(
        "INSERT INTO shifts (started_at, finished_at, published_at) VALUES ($1, $2, $3) "
        "ON CONFLICT DO NOTHING RETURNING true",
        shift.start,
        shift.end,
        published_at,
    )
    if not first:
        return False
    for type_, statements in STATEMENTS.items():
        of_type = [event for event in events if event.type == type_]
        for statement in statements:
            rows = [row for event in of_type if (row := statement.arguments(event)) is not None]
            await connection.executemany(statement.sql, rows)
    return True


async def _seed_stock(connection: "Connection") -> None:
    rows: list[tuple[Any, ...]] = [
        (line.material, RAW_STORE, Decimal(20_000), "kg") for line in LINES
    ]
    rows += [
        (f"spare-{number:04}", f"cabinet-{number % 8 + 1}", Decimal(number * 7 % 40), "pcs")
        for number in range(SPARE_PARTS)
    ]
    await connection.executemany(
        "INSERT INTO stock (material, location, on_hand, uom) VALUES ($1, $2, $3, $4)", rows
    )


async def _seed_erp_stock(connection: "Connection") -> None:
    """Fill in what the ERP says: 12 parts were received that the MES does not know of yet."""
    rows: list[tuple[Any, ...]] = []
    for number in range(SPARE_PARTS):
        pieces = Decimal(number * 7 % 40 + (10 if number % 20 == 5 else 0))
        packed = number % 10 == 0
        quantity, unit = (pieces / 10, "pack10") if packed else (pieces, "PCE")
        rows.append((f"spare-{number:04}", f"C{number % 8 + 1}", quantity, unit))
    await connection.executemany(
        "INSERT INTO erp_stock (article, storage, quantity, unit) VALUES ($1, $2, $3, $4)", rows
    )


async def _seed_measurements(connection: "Connection") -> None:
    await connection.executemany(
        "INSERT INTO measurements (characteristic, batch, subgroup, sequence, value, trial) "
        "VALUES ('piston-ring-diameter', 'reference', $1, $2, $3, $4)",
        list(piston_rings()),
    )


def piston_rings() -> Iterable[tuple[int, int, float, bool]]:
    """Yield (subgroup, sequence, diameter in mm, trial): 40 subgroups of 5, 25 of them trial.

    Inside diameters of forged piston rings, from D. C. Montgomery, Introduction to Statistical
    Quality Control, as the data set `pistonrings` of the R package qcc has them.
    """
    text = files("plant").joinpath("pistonrings.csv").read_text(encoding="utf-8")
    sizes: dict[int, int] = {}
    for row in csv.DictReader(text.splitlines()):
        subgroup = int(row["sample"])
        sizes[subgroup] = sizes.get(subgroup, 0) + 1
        yield subgroup, sizes[subgroup], float(row["diameter"]), row["trial"] == "TRUE"


async def _seed_planned_orders(connection: "Connection", after: datetime) -> None:
    rows: list[tuple[Any, ...]] = []
    for number in range(PLANNED_ORDERS):
        line = LINES[number % len(LINES)]
        due_at = after + timedelta(hours=24 + 3 * number)
        pieces = 400 + 150 * (number * 5 % 8)
        rows.append((f"JO-P{number + 1:03}", line.product, line.name, pieces, due_at))
    await connection.executemany(
        "INSERT INTO orders (order_id, product, line, quantity, due_at, state) "
        "VALUES ($1, $2, $3, $4, $5, 'planned')",
        rows,
    )


async def _seed_planning(connection: "Connection") -> None:
    await connection.executemany(
        "INSERT INTO order_options (order_id, finish, priority) VALUES ($1, $2, $3)",
        [(f"JO-P{n + 1:03}", *planning.options(n)) for n in range(PLANNED_ORDERS)],
    )
    await connection.executemany(
        "INSERT INTO machines (machine, calendar, slots, efficiency, changeover) "
        "VALUES ($1, $2, $3, $4, $5)",
        [
            (name, planning.CALENDAR, slots, efficiency, planning.MATRIX if changes else None)
            for name, slots, efficiency, changes in planning.MACHINES
        ],
    )
    await connection.executemany(
        "INSERT INTO routing_steps (product, position, operation, machine, setup_minutes, "
        "seconds_per_piece, interruptible) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        planning.STEPS,
    )
    await connection.executemany(
        "INSERT INTO working_shifts (calendar, weekday, starts, ends, break_starts, break_ends) "
        "VALUES ($1, $2, $3, $4, $5, $6)",
        list(planning.shifts()),
    )
    await connection.executemany(
        "INSERT INTO holidays (calendar, day) VALUES ($1, $2)",
        [(planning.CALENDAR, day) for day in planning.HOLIDAYS],
    )
    await connection.executemany(
        "INSERT INTO changeovers (matrix, from_group, to_group, minutes) VALUES ($1, $2, $3, $4)",
        [(planning.MATRIX, *change) for change in planning.CHANGEOVERS],
    )
