"""kill -9 of the process at every point of inventory.sync: the next attempt doubles nothing."""

import asyncio
import sys
from collections.abc import AsyncGenerator
from decimal import Decimal
from pathlib import Path

import pytest

from .inventory_plant import Plant, plant

pytestmark = pytest.mark.integration

WORKER = Path(__file__).with_name("inventory_worker.py")
DEADLINE_SECONDS = 60
ROWS = 35


@pytest.fixture
async def mes(postgres_url: str, tmp_path: Path) -> AsyncGenerator[Plant]:
    async with plant(postgres_url, tmp_path) as opened:
        yield opened


async def killed_at(mes: Plant, point: str) -> None:
    """Start a process that runs the job, and kill it there."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(WORKER), mes.url, str(mes.folder), point,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            assert (await process.stdout.readline()).decode().strip() == point
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


@pytest.mark.parametrize(("point", "kept"), [("inside", 10), ("between", 20), ("after", ROWS)])
async def test_a_killed_process_leaves_no_double_change(mes: Plant, point: str, kept: int) -> None:
    items = {f"item-{n:02}": 100 for n in range(ROWS)}
    await mes.holds(items)
    mes.states(items)
    await mes.sync()
    mes.states(dict.fromkeys(items, 103))
    await killed_at(mes, point)
    await mes.book("item-00", -50)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:  # PostgreSQL ends the dead process's transaction by itself.
            changed = [one for one in (await mes.stock()).values() if one not in {100, 50}]
            if len(changed) == kept:
                break
            await asyncio.sleep(0.05)
    again = mes.context()
    again.job_id = "00000000-0000-7000-8000-000000000000"  # That of the process.
    result = await mes.sync(again, guards={"changed_ratio_max": 1})
    assert (result.applied_before, result.applied) == (kept, ROWS - kept)
    stock = await mes.stock()
    assert stock.pop("item-00") == 53
    assert set(stock.values()) == {Decimal(103)}
    total = "SELECT sum(delta) FROM lineshaft_sync_ledger"
    assert await mes.connection.fetchval(total) == 3 * ROWS
    assert [row["applied"] for row in mes.differences()].count("before") == kept
    assert (await mes.sync(guards={"changed_ratio_max": 1})).applied == 0
