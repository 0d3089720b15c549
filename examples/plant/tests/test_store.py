"""The MES on a real PostgreSQL: seeded once, and read through the saved queries."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import yaml
from plant.calendar import SHIFT, Shift, past_shifts
from plant.simulation import simulate
from plant.store import connect

pytestmark = pytest.mark.integration

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
LAST_SHIFT = past_shifts(NOW)[-1]
SOURCES = Path(__file__).parents[1] / "sources.yaml"
TYPES = {
    "bool": "boolean",
    "float8": "double",
    "int4": "integer",
    "int8": "integer",
    "numeric": "decimal",
    "text": "text",
    "timestamptz": "timestamp",
}


async def ask(url: str, query: str, *arguments: Any) -> list[tuple[Any, ...]]:
    """Run a saved query; its columns must be named and typed as the file says."""
    saved = yaml.safe_load(SOURCES.read_text())["sources"]["mes"]["queries"][query]
    connection = await asyncpg.connect(url)
    try:
        statement = await connection.prepare(saved["sql"])
        columns = {column.name: TYPES[column.type.name] for column in statement.get_attributes()}
        assert columns == saved["columns"]
        assert list(columns) == list(saved["columns"])
        assert len(statement.get_parameters()) == len(saved.get("parameters", {}))
        return [tuple(row) for row in await statement.fetch(*arguments)]
    finally:
        await connection.close()


async def test_the_plant_is_seeded_once_and_always_alike(postgres_url: str) -> None:
    async with connect(postgres_url) as store:
        assert await store.seed(past_shifts(NOW))
        assert not await store.seed(past_shifts(NOW))
    connection = await asyncpg.connect(postgres_url)
    rows = {
        table: await connection.fetchval(f"SELECT count(*) FROM {table}")  # noqa: S608
        for table in ("orders", "operations", "production", "lots", "stock", "measurements")
    }
    await connection.close()
    assert rows["production"] > 5000
    assert rows["orders"] == 21 * 6 + 48
    assert rows["measurements"] == 200 + 21 * 40
    assert sum(rows.values()) == 8180


async def test_the_saved_queries_tell_the_last_shift(postgres_url: str) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(NOW))
    window = (LAST_SHIFT.start, LAST_SHIFT.end)
    production = await ask(postgres_url, "shift_production", *window)
    assert len(production) == 6
    assert sum(finished is None for *_, finished in production) == 1
    hourly = await ask(postgres_url, "shift_hourly", *window)
    assert len(hourly) == 8
    assert sum(row[1] for row in hourly) == sum(row[3] for row in production)
    downtime = await ask(postgres_url, "shift_downtime", *window)
    assert [
        (line, reason, float(minutes), events) for line, reason, minutes, events in downtime
    ] == [
        ("line-1", "tool-broken", 24.0, 1),
        ("line-3", "material-missing", 14.5, 1),
    ]
    oee = await ask(postgres_url, "oee_by_line", *window)
    assert [(row[0], float(row[1]), float(row[2]), row[3]) for row in oee] == [
        ("line-1", 480.0, 24.0, 6),
        ("line-2", 480.0, 0.0, 20),
        ("line-3", 480.0, 14.5, 30),
    ]
    assert sum(row[4] for row in oee) == sum(row[3] for row in production)
    stops = await ask(postgres_url, "downtime_events", *window)
    assert [(row[1], float(row[5])) for row in stops] == [("press-1", 24.0), ("station-1", 14.5)]
    orders = await ask(postgres_url, "production_by_order", *window)
    assert [row[4:7] for row in sorted(orders)] == [row[3:6] for row in sorted(production)]
    scrap = await ask(postgres_url, "scrap_by_defect", *window)
    assert sum(row[3] for row in scrap) == sum(row[4] for row in production)
    assert {row[2] for row in scrap} == {"burr", "bore-too-wide", "leak"}
    assert len(await ask(postgres_url, "orders")) == 21 * 6 + 48
    assert len(await ask(postgres_url, "stock")) > 240


async def test_the_piston_rings_are_the_published_ones(postgres_url: str) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(NOW))
    rings = await ask(postgres_url, "measurements", "piston-ring-diameter")
    assert len(rings) == 200
    assert rings[0] == (1, 1, 74.030, True)
    assert [trial for *_, trial in rings] == [True] * 125 + [False] * 75
    assert {subgroup for subgroup, *_ in rings} == set(range(1, 41))


async def test_a_shift_is_booked_once(postgres_url: str) -> None:
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(NOW))
        shift = await store.open_shift(NOW)
        assert shift == Shift(NOW - SHIFT, NOW)
        assert await store.book(shift, simulate(shift))
        before = await ask(postgres_url, "stock")
        assert not await store.book(shift, simulate(shift))
    assert await ask(postgres_url, "stock") == before
    assert len(await ask(postgres_url, "shift_production", shift.start, shift.end)) >= 6


async def test_a_shift_is_offered_until_it_is_published(postgres_url: str) -> None:
    later = NOW + timedelta(minutes=3)
    async with connect(postgres_url) as store:
        await store.seed(past_shifts(NOW))
        shift = await store.open_shift(NOW)
        await store.book(shift, simulate(shift))
        assert await store.open_shift(later) == shift
        await store.mark_published(shift)
        assert await store.open_shift(later) == Shift(NOW, later)
