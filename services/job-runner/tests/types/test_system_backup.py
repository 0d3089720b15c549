"""system.backup and system.restore on a real PostgreSQL: what counts can be restored."""

import asyncio
import os
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from lineshaft_contracts.backups import (
    BackupManifest,
    BackupParameters,
    BackupResult,
    RestoreParameters,
    RestoreResult,
    Verification,
)
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError, RetryableError
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.backup import packing, programs, restoring, work
from lineshaft_job_runner.types.backup.packing import DamagedError
from lineshaft_job_runner.types.backup.programs import Server
from lineshaft_job_runner.types.backup.run import opened
from lineshaft_job_runner.types.system_backup import SystemBackup

from .backup_plant import TABLES, Plant, attempt, databases, execute, fetch, sibling

pytestmark = pytest.mark.integration


@pytest.fixture
async def plant(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncGenerator[Plant]:
    await execute(postgres_url, TABLES)
    made = Plant(tmp_path, monkeypatch)
    made.postgresql(postgres_url)
    before = await databases(postgres_url)
    yield made
    assert await databases(postgres_url) == before, "a database was left behind"
    assert not (tmp_path / "work").exists() or not any((tmp_path / "work").iterdir())


async def back_up(plant: Plant, context: FolderContext | None = None, **more: Any) -> BackupResult:
    parameters = BackupParameters.model_validate({**SystemBackup.example, **more})
    return await work.run(context or attempt(plant.results), parameters)


async def restore(
    plant: Plant, context: FolderContext | None = None, **more: Any
) -> RestoreResult:
    parameters = RestoreParameters.model_validate(
        {"backup_set": "plant", "target": "restored_here", **more}
    )
    return await restoring.run(context or attempt(plant.results), parameters)


async def test_a_backup_counts_after_it_was_restored_and_compared(plant: Plant) -> None:
    context = attempt(plant.results)
    result = await back_up(plant, context)
    assert (result.verified, result.counts_for_retention) == ("restore", True)
    rows = {item.name: item.rows for item in result.items}
    assert rows["public.orders"] == 5000
    assert rows['"Shop floor"."Odd "" name"'] == 3
    assert rows["public.measured_october"] + rows["public.measured_rest"] == 500
    assert "public.measured" not in rows
    assert result.counts.ok == result.counts.requested == len(rows) == 6
    (manifest,) = plant.manifests()
    assert manifest["parts"]["indexes"] >= 2
    assert manifest["parts"]["large_objects"] == 1
    assert manifest["sha256"] == packing.measured(plant.stored("content-*.zst")[0])[1]
    assert result.rto_seconds is not None
    assert 0 < result.rto_seconds < result.backup_seconds
    assert result.rpo_seconds is None
    done = [step[0] for step in context.progressed]
    assert done == sorted(done)
    assert {0, 400, 450, 1000} <= set(done)


async def test_the_next_backup_measures_how_much_could_have_been_lost(plant: Plant) -> None:
    first = await back_up(plant)
    second = await back_up(plant)
    assert first.snapshot_at is not None
    assert second.snapshot_at is not None
    gap = (second.snapshot_at - first.snapshot_at).total_seconds()
    assert second.rpo_seconds is not None
    assert gap < second.rpo_seconds < gap + second.backup_seconds + 1


async def test_a_backup_is_of_one_moment_whatever_is_written_meanwhile(
    plant: Plant, postgres_url: str
) -> None:
    stop = asyncio.Event()

    async def write() -> None:
        while not stop.is_set():
            insert = (
                "INSERT INTO orders (\"lineshaft row\") SELECT 'more' FROM generate_series(1, 50)"
            )
            await execute(postgres_url, insert, "DELETE FROM measured WHERE value < random() * 90")

    writing = asyncio.create_task(write())
    try:
        result = await back_up(plant)
    finally:
        stop.set()
        await writing
    assert result.verified == "restore"
    assert await fetch(postgres_url, "SELECT count(*) FROM orders") > 5000


def cut_in_half(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def cut_the_end(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 5)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def remove(path: Path) -> None:
    path.unlink()


async def test_damage_is_found_at_every_level(plant: Plant) -> None:
    await back_up(plant)
    (manifest,) = plant.manifests()
    (path,) = plant.stored("content-*.zst")
    whole = path.read_bytes()
    async with opened(attempt(plant.results), "plant") as again:
        for damage in (cut_in_half, cut_the_end, flip_a_byte, remove):
            damage(path)
            with pytest.raises(DamagedError):
                await work._verified(
                    again, BackupManifest.model_validate(manifest), Verification.DIGEST
                )
            path.write_bytes(whole)


async def test_damage_from_before_the_digest_was_taken_is_found_by_reading(plant: Plant) -> None:
    await back_up(plant)
    (manifest,) = plant.manifests()
    (path,) = plant.stored("content-*.zst")
    whole = path.read_bytes()
    async with opened(attempt(plant.results), "plant") as again:
        for damage in (cut_in_half, cut_the_end, flip_a_byte):
            damage(path)
            size, digest = packing.measured(path)
            wrong = BackupManifest.model_validate({**manifest, "bytes": size, "sha256": digest})
            with pytest.raises(DamagedError):
                await work._verified(again, wrong, Verification.FULL_READ)
            path.write_bytes(whole)


async def test_half_a_dump_is_found_by_restoring_where_its_contents_list_looks_whole(
    plant: Plant, tmp_path: Path
) -> None:
    """The dump itself ends in the middle, as after a full disk; packed and digested in order."""
    await back_up(plant)
    (manifest,) = plant.manifests()
    (path,) = plant.stored("content-*.zst")
    content = b"".join(packing.unpacked(path))
    with packing.Packer(path, level=3) as packer:
        packer.write(content[: len(content) * 2 // 3])
    size, digest = packing.measured(path)
    wrong = BackupManifest.model_validate(
        {
            **manifest,
            "bytes": size,
            "sha256": digest,
            "content_bytes": packer.content_bytes,
            "content_sha256": packer.content_sha256,
        }
    )
    half = tmp_path / "half.dump"
    half.write_bytes(content[: len(content) * 2 // 3])
    listing = [str(programs.any_folder(None) / "pg_restore"), "--list", str(half)]
    assert subprocess.run(listing, check=False, capture_output=True).returncode == 0  # noqa: ASYNC221
    async with opened(attempt(plant.results), "plant") as again:
        assert await work._verified(again, wrong, Verification.FULL_READ)
        with pytest.raises((DamagedError, PermanentError)):
            await work._verified(again, wrong, Verification.RESTORE)


async def test_a_restored_table_that_differs_is_found(plant: Plant) -> None:
    await back_up(plant)
    (manifest,) = plant.manifests()
    items = [dict(item) for item in manifest["items"]]
    items[-1]["digest"] = "1"
    items[0]["rows"] += 1
    async with opened(attempt(plant.results), "plant") as again:
        wrong = BackupManifest.model_validate({**manifest, "items": items})
        with pytest.raises(DamagedError, match="has another checksum"):
            await work._verified(again, wrong, Verification.RESTORE)


async def test_a_retry_after_the_manifest_makes_no_second_backup(plant: Plant) -> None:
    context = attempt(plant.results)
    first = await back_up(plant, context)
    second = await back_up(plant, context)
    assert (second.backup_id, second.sha256) == (first.backup_id, first.sha256)
    assert len(plant.manifests()) == 1


async def test_a_cancelled_backup_leaves_nothing_that_looks_like_one(plant: Plant) -> None:
    for steps in (1, 2, 4, 8):
        with pytest.raises(JobStoppedError):
            await back_up(plant, attempt(plant.results, cancel_after=steps))
    assert plant.manifests() == []
    running = [p.name() for p in psutil.Process().children(recursive=True)]
    assert not {"pg_dump", "pg_restore", "psql"} & set(running)


async def test_an_older_pg_dump_is_refused_before_anything_is_dumped(
    plant: Plant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = programs.any_folder(None)
    old = tmp_path / "old"
    old.mkdir()
    for name in ("psql", "pg_restore"):
        (old / name).symlink_to(real / name)
    (old / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 9.6.24'\n")
    (old / "pg_dump").chmod(0o755)
    monkeypatch.setenv("LINESHAFT_POSTGRES_PROGRAMS", str(old))
    with pytest.raises(PermanentError, match=r"versions: 9\.") as refused:
        await back_up(plant)
    assert refused.value.code == "pg_dump_too_old"
    assert plant.stored() == []


async def test_retention_deletes_after_the_new_one_is_proven(
    plant: Plant, postgres_url: str
) -> None:
    keep = {"last": 2, "daily": 0, "weekly": 0, "monthly": 0}
    plant.postgresql(postgres_url, keep=keep)
    results = [await back_up(plant) for _ in range(4)]
    assert results[-1].kept == (results[3].backup_id, results[2].backup_id)
    assert results[-1].deleted == (results[1].backup_id,)
    assert [m["backup_id"] for m in plant.manifests()] == [r.backup_id for r in results[2:]]
    assert len(plant.stored("content-*.zst")) == 2


async def test_a_backup_that_was_checked_less_does_not_count(
    plant: Plant, postgres_url: str
) -> None:
    keep = {"last": 1, "daily": 0, "weekly": 0, "monthly": 0}
    plant.postgresql(postgres_url, keep=keep)
    good = await back_up(plant)
    less = [await back_up(plant, verification="digest") for _ in range(3)]
    assert not less[0].counts_for_retention
    assert less[-1].deleted == ()
    assert good.backup_id in less[-1].kept
    assert (less[0].counts.ok, less[0].counts.skipped) == (0, 6)


async def test_a_restore_is_tried_first_and_never_overwrites(
    plant: Plant, postgres_url: str
) -> None:
    backup = await back_up(plant)
    tried = await restore(plant)
    assert (tried.restored, tried.backup_id) == (False, backup.backup_id)
    assert "restored_here" not in await databases(postgres_url)
    with pytest.raises(PermanentError) as other:
        await restore(plant, dry_run=False, plan="0" * 64)
    assert other.value.code == "plan_differs"
    context = attempt(plant.results)
    done = await restore(plant, context, dry_run=False, plan=tried.plan)
    try:
        assert done.restored
        copy = sibling(postgres_url, "restored_here")
        for query in (
            "SELECT md5(string_agg(o::text, '|' ORDER BY id)) FROM orders o",
            "SELECT md5(string_agg(m::text, '|' ORDER BY at)) FROM measured m",
            "SELECT count(*) FROM held",
            "SELECT half(5)",
        ):
            assert await fetch(copy, query) == await fetch(postgres_url, query)
        again = await restore(plant, context, dry_run=False, plan=tried.plan)
        assert again.rto_seconds == done.rto_seconds, "a retry finds what was done"
        with pytest.raises(PermanentError) as exists:
            await restore(plant, dry_run=False, plan=tried.plan)
        assert exists.value.code == "target_exists"
    finally:
        await execute(postgres_url, "DROP DATABASE IF EXISTS restored_here")


async def test_a_damaged_backup_is_not_restored(plant: Plant, postgres_url: str) -> None:
    await back_up(plant)
    flip_a_byte(plant.stored("content-*.zst")[0])
    with pytest.raises(PermanentError) as damaged:
        await restore(plant)
    assert damaged.value.code == "backup_damaged"


async def test_sets_and_backups_belong_to_their_tenants(plant: Plant, postgres_url: str) -> None:
    context = attempt(plant.results)
    context.tenant = "rival"
    with pytest.raises(PermanentError, match="there are: none") as unknown:
        await back_up(plant, context)
    assert unknown.value.code == "backup_set_unknown"
    await back_up(plant)
    plant.postgresql(postgres_url, tenants=["acme", "rival"])
    with pytest.raises(PermanentError) as missing:
        await restore(plant, context)
    assert missing.value.code == "backup_missing"


async def test_a_dry_run_checks_and_writes_nothing(plant: Plant) -> None:
    result = await back_up(plant, dry_run=True)
    assert (result.backup_id, result.counts.skipped) == (None, 6)
    assert result.source_version.startswith("PostgreSQL ")
    assert plant.stored() == []


async def test_a_server_that_is_away_is_waited_for_and_a_wrong_password_is_not(
    plant: Plant, postgres_url: str
) -> None:
    head, _, place = postgres_url.rpartition("@")
    user = head.rpartition(":")[0]
    plant.postgresql(f"{user}:wrong-one@{place}")
    with pytest.raises(PermanentError) as refused:
        await back_up(plant)
    assert "wrong-one" not in str(refused.value)
    plant.postgresql("postgresql://nobody:secret-words@127.0.0.1:9/nowhere")
    with pytest.raises(RetryableError) as away:
        await back_up(plant)
    assert away.value.code == "backup_source_unavailable"


def test_no_secret_is_on_a_command_line() -> None:
    server = Server("postgresql://plant:p%40ss@db.example:5433/mes?sslmode=require")
    assert server.url() == "postgresql://plant@db.example:5433/mes?sslmode=require"
    assert server.environment()["PGPASSWORD"] == "p@ss"
    assert server.clean("pg_dump: error: p@ss is wrong") == "pg_dump: error: *** is wrong"


@asynccontextmanager
async def holding(url: str, statement: str) -> AsyncGenerator[None]:
    """Keep a transaction open."""
    import asyncpg

    connection = await asyncpg.connect(url, timeout=10)
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute(statement)
    try:
        yield
    finally:
        await transaction.rollback()
        await connection.close()


async def test_a_backup_that_waits_for_a_lock_can_be_cancelled(
    plant: Plant, postgres_url: str
) -> None:
    context = attempt(plant.results)
    async with holding(postgres_url, "LOCK TABLE orders IN ACCESS EXCLUSIVE MODE"):
        running = asyncio.create_task(back_up(plant, context))
        async with asyncio.timeout(30):
            while not await fetch(
                postgres_url, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'relation'"
            ):
                await asyncio.sleep(0.05)
        context._cancel_after = 0
        with pytest.raises(JobStoppedError):
            await running
