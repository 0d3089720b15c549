"""Folders and SQLite files: packed, encrypted, proven and restored, whatever they are called."""

import os
import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest
from lineshaft_contracts.backups import BackupManifest, BackupParameters, RestoreParameters
from lineshaft_job_runner.job_type import JobStoppedError, PermanentError
from lineshaft_job_runner.types.backup import restoring, work
from lineshaft_job_runner.types.backup.packing import DamagedError
from lineshaft_job_runner.types.backup.run import opened
from lineshaft_job_runner.types.backup.vault import Vault
from pyrage import x25519

from .backup_plant import Plant, attempt

PARAMETERS = BackupParameters(backup_set="plant")


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    return Plant(tmp_path, monkeypatch)


@pytest.fixture
def recipes(tmp_path: Path) -> Path:
    folder = tmp_path / "recipes"
    (folder / "line 3" / "empty").mkdir(parents=True)
    (folder / "line 3" / "rezept-ä-\n-x.json").write_text('{"temperature": 181}')
    (folder / "program.nc").write_bytes(os.urandom(300_000))
    (folder / "nothing").write_bytes(b"")
    (folder / "latest").symlink_to("program.nc")
    return folder


def content_of(folder: Path) -> dict[str, bytes | str]:
    return {
        path.relative_to(folder).as_posix(): str(path.readlink())
        if path.is_symlink()
        else path.read_bytes()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def places(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "copies").mkdir(exist_ok=True)
    return {"restore_folder": str(tmp_path / "copies")}


async def test_a_folder_comes_back_as_it_was(plant: Plant, recipes: Path, tmp_path: Path) -> None:
    plant.configure(kind="folder", path=recipes, **places(tmp_path))
    result = await work.run(attempt(plant.results), PARAMETERS)
    assert (result.verified, result.counts.ok) == ("restore", 3)
    ask = RestoreParameters(backup_set="plant", target="back")
    tried = await restoring.run(attempt(plant.results), ask)
    assert list((tmp_path / "copies").iterdir()) == []
    really = ask.model_copy(update={"dry_run": False, "plan": tried.plan})
    await restoring.run(attempt(plant.results), really)
    assert content_of(tmp_path / "copies" / "back") == content_of(recipes)
    with pytest.raises(PermanentError) as exists:
        await restoring.run(attempt(plant.results), really)
    assert exists.value.code == "target_exists"


async def test_an_encrypted_backup_is_unreadable_without_its_key_and_proven_with_it(
    plant: Plant, recipes: Path, tmp_path: Path
) -> None:
    identity, other = x25519.Identity.generate(), x25519.Identity.generate()
    key = tmp_path / "key.txt"
    key.write_text(f"# made today\n{identity}\n")
    encryption = {"recipients": [str(identity.to_public())], "identity_file": str(key)}
    plant.configure(kind="folder", path=recipes, encryption=encryption)
    (recipes / "open.txt").write_text("secret recipe " * 1_000)
    result = await work.run(attempt(plant.results), PARAMETERS)
    assert (result.encrypted, result.verified) == (True, "restore")
    (path,) = plant.stored("content-*.age")
    assert path.read_bytes().startswith(b"age-encryption.org/v1")
    (manifest,) = plant.manifests()
    key.write_text(f"{other}\n")
    async with opened(attempt(plant.results), "plant") as again:
        with pytest.raises(DamagedError, match="decrypted"):
            await again.fetch(BackupManifest.model_validate(manifest))


async def test_a_cancelled_folder_backup_stores_nothing(plant: Plant, recipes: Path) -> None:
    plant.configure(kind="folder", path=recipes)
    with pytest.raises(JobStoppedError):
        await work.run(attempt(plant.results, cancel_after=1), PARAMETERS)
    assert plant.stored() == []


async def test_an_sqlite_file_is_copied_while_it_is_written(plant: Plant, tmp_path: Path) -> None:
    path = tmp_path / "edge.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(
            'CREATE TABLE "odd "" name" (id INTEGER PRIMARY KEY, value REAL, raw BLOB)'
        )
        database.executemany(
            'INSERT INTO "odd "" name" (value, raw) VALUES (?, ?)',
            [(n / 3, os.urandom(50)) for n in range(20_000)],
        )
        database.execute('CREATE INDEX by_value ON "odd "" name" (value)')
        database.commit()
    stop = threading.Event()

    def write() -> None:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            while not stop.is_set():
                database.execute('INSERT INTO "odd "" name" (value) VALUES (1)')
                database.commit()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        plant.configure(kind="sqlite", path=path, **places(tmp_path))
        result = await work.run(attempt(plant.results), PARAMETERS)
    finally:
        stop.set()
        thread.join()
    assert result.verified == "restore"
    assert result.items[0].rows >= 20_000
    ask = RestoreParameters(backup_set="plant", target="edge_copy")
    tried = await restoring.run(attempt(plant.results), ask)
    really = ask.model_copy(update={"dry_run": False, "plan": tried.plan})
    await restoring.run(attempt(plant.results), really)
    with closing(sqlite3.connect(tmp_path / "copies" / "edge_copy")) as copy:
        (count,) = copy.execute('SELECT count(*) FROM "odd "" name"').fetchone()
    assert count == result.items[0].rows


async def test_what_was_never_finished_is_no_backup_and_goes_in_time(
    plant: Plant, recipes: Path
) -> None:
    plant.configure(kind="folder", path=recipes)
    result = await work.run(attempt(plant.results), PARAMETERS)
    place = plant.store / "acme" / "plant"
    for name in ("20200101T000000Z-0123456789ab", "29990101T000000Z-0123456789ab"):
        (place / name).mkdir()
        (place / name / "content.zst").write_bytes(b"half")
    vault = Vault(plant.store.as_uri(), tenant="acme", backup_set="plant")
    assert len(await vault.unfinished()) == 2
    assert [m.backup_id for m in await vault.manifests()] == [result.backup_id]
    await work.run(attempt(plant.results), PARAMETERS)
    assert await vault.unfinished() == ["29990101T000000Z-0123456789ab"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "folder", "path": "/nowhere/at/all"}, "is no folder"),
        ({"kind": "sqlite", "path": "/nowhere/at/all"}, "is no file"),
        ({"kind": "folder"}, "path belongs"),
        ({"kind": "folder", "path": "/tmp", "url_env": "X"}, "url_env belongs"),  # noqa: S108
        ({"kind": "postgresql", "url_env": "NOT_SET_ANYWHERE"}, "NOT_SET_ANYWHERE is not set"),
        ({"kind": "folder", "path": "/tmp", "tenants": []}, "tenants"),  # noqa: S108
        ({"kind": "folder", "path": "/tmp", "store_url": "odd://x"}, "store_url"),  # noqa: S108
    ],
)
async def test_a_set_that_cannot_work_says_what_is_wrong(
    plant: Plant, changes: dict[str, object], words: str
) -> None:
    plant.configure(**changes)
    with pytest.raises(PermanentError, match=words):
        await work.run(attempt(plant.results), PARAMETERS)
