"""inventory.sync against a real PostgreSQL: differences are applied once, bookings are kept."""

import asyncio
from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from lineshaft_contracts.inventory_sync import Decision
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError
from lineshaft_job_runner.sources import SourceError
from lineshaft_job_runner.types.inventory import applying, work

from .inventory_plant import TARGET, Plant, PlantContext, plant, sources

pytestmark = pytest.mark.integration

D = Decision
NOW = datetime.now(UTC)


@pytest.fixture
async def mes(postgres_url: str, tmp_path: Path) -> AsyncGenerator[Plant]:
    async with plant(postgres_url, tmp_path) as opened:
        yield opened


async def synced(mes: Plant, stock: dict[str, Any]) -> None:
    """Bring both sides in line."""
    await mes.holds(stock)
    mes.states(stock)
    result = await mes.sync()
    assert result.decisions == {D.SAME: len(stock)}


async def test_the_first_sync_adds_stock_that_the_target_does_not_know(mes: Plant) -> None:
    mes.states({"bolt": "12.5", "nut": 7, "none": 0})
    result = await mes.sync()
    assert await mes.stock() == {"bolt": Decimal("12.5"), "nut": 7}
    assert (result.applied, result.created) == (2, 2)
    assert result.decisions == {D.SAME: 1, D.SOURCE_MOVED: 2}
    assert result.counts.requested == result.counts.ok == 3


async def test_a_replay_changes_nothing(mes: Plant) -> None:
    mes.states({"bolt": 12, "nut": 7})
    await mes.sync()
    again = await mes.sync()
    assert (again.applied, again.decisions) == (0, {D.SAME: 2})
    assert mes.differences() == []
    revisions = "SELECT max(revision) FROM lineshaft_synced"
    assert await mes.connection.fetchval(revisions) == 1


async def test_only_the_side_that_moved_counts(mes: Plant) -> None:
    await synced(mes, {"bolt": 100, "nut": 50, "washer": 10})
    mes.states({"bolt": 120, "nut": 50, "washer": 10})
    await mes.book("nut", -20)
    result = await mes.sync()
    assert await mes.stock() == {"bolt": 120, "nut": 30, "washer": 10}
    assert result.decisions == {D.SAME: 1, D.SOURCE_MOVED: 1, D.TARGET_MOVED: 1}
    rows = {row["item"]: (row["decision"], row["delta"]) for row in mes.differences()}
    assert rows == {"bolt": ("source_moved", "20"), "nut": ("target_moved", "0")}


async def test_what_moved_on_both_sides_is_listed_and_left_alone(mes: Plant) -> None:
    await synced(mes, {"bolt": 100, "nut": 50})
    mes.states({"bolt": 120, "nut": 50})
    await mes.book("bolt", -10)
    for _ in range(2):
        result = await mes.sync()
        assert await mes.stock() == {"bolt": 90, "nut": 50}
        (conflict,) = result.conflicts
        assert (conflict.item, conflict.base, conflict.source, conflict.target) == (
            "bolt", 100, 120, 90,
        )  # fmt: skip
        assert (result.counts.ok, result.counts.skipped, result.applied) == (1, 1, 0)
        (row,) = mes.table("inventory-conflicts.csv")
        assert (row["base"], row["source"], row["target"]) == ("100", "120", "90")


async def test_with_sum_both_movements_count_once(mes: Plant) -> None:
    await synced(mes, {"bolt": 100})
    mes.states({"bolt": 120})
    await mes.book("bolt", -10)
    await mes.sync(policy="sum")
    assert await mes.stock() == {"bolt": 110}
    again = await mes.sync(policy="sum")
    assert (again.applied, await mes.stock()) == (0, {"bolt": 110})
    mes.states({"bolt": 125})
    await mes.sync(policy="sum")
    assert await mes.stock() == {"bolt": 115}


async def test_a_booking_between_reading_and_applying_is_kept(
    mes: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(mes, {"bolt": 100})
    mes.states({"bolt": 120})

    async def late(*arguments: Any) -> Any:
        await mes.book("bolt", -30)
        return await applying.apply(*arguments)

    monkeypatch.setattr(work, "apply", late)
    await mes.sync()
    assert await mes.stock() == {"bolt": 90}
    monkeypatch.undo()
    after = await mes.sync()
    assert (after.applied, after.decisions) == (0, {D.TARGET_MOVED: 1})


async def test_a_booking_meanwhile_does_not_lead_below_zero(
    mes: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    await synced(mes, {"bolt": 100, "nut": 5})
    mes.states({"bolt": 10, "nut": 6})

    async def late(*arguments: Any) -> Any:
        await mes.book("bolt", -30)
        return await applying.apply(*arguments)

    monkeypatch.setattr(work, "apply", late)
    with pytest.raises(PermanentError, match="booked meanwhile") as raised:
        await mes.sync()
    assert raised.value.code == "guard_negative"
    assert await mes.stock() == {"bolt": 70, "nut": 5}


async def test_two_runs_at_once_apply_a_difference_once(mes: Plant) -> None:
    await synced(mes, {f"item-{n}": 100 for n in range(50)})
    mes.states({f"item-{n}": 101 for n in range(50)})
    guards = {"changed_ratio_max": 1}
    runs = (mes.sync(guards=guards, file_name=f"run-{n}") for n in range(4))
    results = await asyncio.gather(*runs)
    assert set((await mes.stock()).values()) == {Decimal(101)}
    assert sum(result.applied for result in results) == 50
    for result in results:
        assert result.applied + result.overtaken in {0, 50}


async def test_a_dry_run_shows_everything_and_changes_nothing(mes: Plant) -> None:
    await mes.holds({f"item-{n}": 1 for n in range(30)})
    mes.states({f"item-{n}": 2 for n in range(30)})
    result = await mes.sync(dry_run=True, policy="source_wins")
    assert (result.applied, result.decisions) == (0, {D.SOURCE_WON: 30})
    assert any("would stop: 30 of 30 stocks would change" in one for one in result.warnings)
    assert {row["applied"] for row in mes.differences()} == {"no"}
    assert set((await mes.stock()).values()) == {Decimal(1)}
    assert await mes.connection.fetchval("SELECT to_regclass('lineshaft_synced') IS NULL")


async def test_a_guard_stops_before_anything_is_applied(mes: Plant) -> None:
    await synced(mes, {f"item-{n}": 10 for n in range(30)})
    mes.states({f"item-{n}": 11 for n in range(30)})
    with pytest.raises(PermanentError, match="30 of 30 stocks would change") as raised:
        await mes.sync()
    assert raised.value.code == "guard_changed"
    mes.states({f"other-{n}": 10 for n in range(30)})
    with pytest.raises(PermanentError, match="30 of 30 stocks would change"):
        await mes.sync(guards={"shrink_ratio_max": 1})
    mes.states({"item-0": 10})
    with pytest.raises(PermanentError, match="no longer names 29 of 30") as raised:
        await mes.sync(absent="zero")
    assert raised.value.code == "guard_shrunk"
    mes.states({**{f"item-{n}": 10 for n in range(29)}, "item-29": -1})
    with pytest.raises(PermanentError, match="below zero") as raised:
        await mes.sync()
    assert raised.value.code == "guard_negative"
    assert set((await mes.stock()).values()) == {Decimal(10)}


async def test_absent_stock_is_kept_or_zero(mes: Plant) -> None:
    await synced(mes, {"bolt": 100, "nut": 50})
    mes.states({"bolt": 100})
    kept = await mes.sync()
    assert (kept.decisions, kept.counts.skipped) == ({D.SAME: 1, D.ABSENT: 1}, 1)
    await mes.sync(absent="zero")
    assert await mes.stock() == {"bolt": 100, "nut": 0}
    assert (await mes.sync(absent="zero")).decisions == {D.SAME: 2}


async def test_a_count_of_yesterday_is_applied_to_the_stock_of_yesterday(mes: Plant) -> None:
    await synced(mes, {"bolt": 100})
    counted_at = NOW - timedelta(hours=6)
    await mes.book("bolt", -10, counted_at - timedelta(hours=1))
    await mes.book("bolt", -40, counted_at + timedelta(hours=1))
    header = "item,location,quantity,counted"
    mes.says(f"{header}\nbolt,A,87,{counted_at.isoformat()}\n")
    columns = {"uom": None, "counted_at": "counted"}
    given: dict[str, Any] = {
        "source": {"kind": "file", "source": "drop", "path": "stock.csv", "columns": columns},
        "target": {
            **TARGET,
            "movements": {"source": "mes", "query": "movements", "item": "material"},
        },
    }
    result = await mes.sync(**given)
    # 90 were there by the book, 87 on the shelf; 40 were used since.
    assert result.decisions == {D.COUNTED: 1}
    assert await mes.stock() == {"bolt": 47}
    assert (await mes.sync(**given)).applied == 0
    mes.says(f"{header}\nbolt,A,88,{counted_at.isoformat()}\n")
    await mes.sync(**given)
    assert await mes.stock() == {"bolt": 48}
    mes.says(f"{header}\nbolt,A,60,{(counted_at - timedelta(hours=3)).isoformat()}\n")
    assert (await mes.sync(**given)).decisions == {D.OLD_COUNT: 1}


async def test_what_is_available_is_compared_and_what_is_on_hand_is_changed(mes: Plant) -> None:
    await mes.holds({"bolt": 100}, reserved=Decimal(30))
    target = {**TARGET, "columns": {"item": "material", "reserved": "reserved"}}
    mes.states({"bolt": 70})
    assert (await mes.sync(target=target, compare="available")).decisions == {D.SAME: 1}
    await mes.holds({"bolt": 100}, reserved=Decimal(40))
    mes.states({"bolt": 70})
    reserved_here = await mes.sync(target=target, compare="available")
    assert reserved_here.decisions == {D.TARGET_MOVED: 1}
    await mes.holds({"bolt": 100}, reserved=Decimal(30))
    mes.states({"bolt": 75})
    await mes.sync(target=target, compare="available")
    assert await mes.stock() == {"bolt": 105}
    with pytest.raises(PermanentError, match="use another name"):
        await mes.sync()


async def test_changes_alone_are_read_from_the_cursor_on(mes: Plant) -> None:
    async def erp(item: str, quantity: int, changed_at: datetime) -> None:
        await mes.connection.execute(
            "INSERT INTO erp_stock VALUES ($1, 'A', $2, $3)", item, Decimal(quantity), changed_at
        )

    source = {
        "kind": "query",
        "source": "mes",
        "query": "erp",
        "columns": {
            "item": "material", "quantity": "on_hand", "uom": None, "changed_at": "changed_at",
        },
        "changes": {"start": "2026-01-01T00:00:00Z", "overlap_seconds": 60},
    }  # fmt: skip
    hours = [NOW - timedelta(hours=n) for n in (3, 2, 1)]
    await erp("bolt", 10, hours[0])
    await erp("nut", 20, hours[1])
    first = await mes.sync(source=source)
    assert (first.source_rows, first.cursor) == (2, hours[1])
    await mes.connection.execute("DELETE FROM erp_stock")
    await erp("nut", 25, hours[2])
    await mes.book("nut", -1)
    contested = await mes.sync(source=source)
    assert contested.decisions == {D.SAME: 1, D.CONFLICT: 1}
    # It is not read again, and it is still to be decided about.
    await mes.connection.execute("DELETE FROM erp_stock")
    later = await mes.sync(source=source, policy="source_wins")
    assert (later.source_rows, later.decisions) == (0, {D.SAME: 1, D.SOURCE_WON: 1})
    assert await mes.stock() == {"bolt": 10, "nut": 25}
    assert later.cursor == hours[2]


async def test_tenants_do_not_see_each_others_syncs(mes: Plant) -> None:
    await synced(mes, {"bolt": 100})
    await mes.book("bolt", -10)
    other = mes.context()
    other.tenant = "globex"
    result = await mes.sync(other)
    assert result.decisions == {D.CONFLICT: 1}
    assert (await mes.sync()).decisions == {D.TARGET_MOVED: 1}
    queries = {"none": {"sql": "SELECT 1", "columns": {"one": "integer"}}}
    closed: dict[str, Any] = {"kind": "postgresql", "url_env": "URL", "queries": queries}
    closed["tenants"] = {"acme": {}}
    mes.file = sources(mes.folder, mes=closed)
    other = mes.context()
    other.tenant = "globex"
    with pytest.raises(SourceError) as raised:
        await mes.sync(other)
    assert raised.value.code == "source_tenant_unknown"


async def test_a_job_that_is_cancelled_in_the_middle_can_be_run_again(
    mes: Plant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(applying, "CHUNK_ROWS", 10)
    mes.states({f"item-{n:02}": 1 for n in range(35)})
    context = mes.context()
    applied = 0

    def progress(done: int, total: int, message: str = "") -> None:
        nonlocal applied
        applied += message.startswith("applied")

    monkeypatch.setattr(context, "progress", progress)
    monkeypatch.setattr(PlantContext, "cancelled", property(lambda _: applied >= 2))
    with pytest.raises(JobStoppedError):
        await mes.sync(context)
    assert len(await mes.stock()) == 20
    monkeypatch.undo()
    again = await mes.sync(context)
    assert (again.applied, again.applied_before) == (15, 20)
    assert set((await mes.stock()).values()) == {Decimal(1)}
    assert [row["applied"] for row in mes.differences()].count("before") == 20


async def test_a_target_that_rounds_is_noticed(mes: Plant) -> None:
    await mes.connection.execute("ALTER TABLE stock ALTER on_hand TYPE numeric(12, 2)")
    await mes.holds({"bolt": 1})
    mes.states({"bolt": "1.234"})
    with pytest.raises(PermanentError, match="set `decimals`") as raised:
        await mes.sync(policy="source_wins")
    assert raised.value.code == "quantity_rounded"
    await mes.sync(policy="source_wins", decimals=2)
    assert await mes.stock() == {"bolt": Decimal("1.23")}
    assert (await mes.sync(policy="source_wins", decimals=2)).applied == 0


async def test_a_rule_of_the_target_refuses_with_its_own_words(mes: Plant) -> None:
    await mes.connection.execute("ALTER TABLE stock ADD CHECK (on_hand < 1000)")
    mes.states({"bolt": 5000})
    with pytest.raises(PermanentError, match="23514") as raised:
        await mes.sync()
    assert raised.value.code == "stock_refused"
    assert await mes.stock() == {}
    assert await mes.connection.fetchval("SELECT count(*) FROM lineshaft_synced") == 0


async def test_an_entity_of_another_shape_is_named(mes: Plant) -> None:
    mes.states({"bolt": 1})
    with pytest.raises(PermanentError, match="has to be \\(item, location\\)") as raised:
        await mes.sync(target={"source": "mes", "entity": "stock"})
    assert raised.value.code == "entity_unfit"


async def test_many_long_names_do_not_make_the_result_too_large(mes: Plant) -> None:
    long = {f"{number:03}{'Ä' * 190}": number for number in range(100)}
    await mes.holds(long)
    mes.says(
        "item,location,quantity\n"
        + "".join(f"{item},A,{quantity + 1}\n" for item, quantity in long.items())
        + "".join(f"{item},B,?\n" for item in long)
    )
    result = await mes.sync(guards={"failed_rows_max": 1_000})
    assert len(result.model_dump_json()) < 64 * 1024
    assert (result.decisions, result.counts.failed) == ({D.CONFLICT: 100}, 100)
    assert len(mes.table("inventory-conflicts.csv")) == 100
    assert len(mes.table("inventory-failures.csv")) == 100


async def test_new_stock_can_be_refused(mes: Plant) -> None:
    await mes.holds({"bolt": 1})
    mes.states({"bolt": 1, "nut": 5})
    result = await mes.sync(target={**TARGET, "create_rows": False}, guards={"failed_rows_max": 5})
    assert (result.counts.ok, result.counts.failed) == (1, 1)
    assert result.errors[0].code == "target_row_unknown"
    assert await mes.stock() == {"bolt": 1}
