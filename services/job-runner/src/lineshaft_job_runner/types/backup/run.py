"""What a backup and a restore share: the set, its vault, a work folder, and a moving progress."""

import asyncio
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import assert_never
from uuid import UUID

from lineshaft_contracts.backups import BackupItem, BackupKind, BackupManifest

from lineshaft_job_runner.job_type import JobContext
from lineshaft_job_runner.types.backup import packing
from lineshaft_job_runner.types.backup.files import FolderTree
from lineshaft_job_runner.types.backup.packing import DamagedError
from lineshaft_job_runner.types.backup.postgresql import Database
from lineshaft_job_runner.types.backup.sets import BackupSet, BackupSettings, find
from lineshaft_job_runner.types.backup.sqlite import DatabaseFile
from lineshaft_job_runner.types.backup.subject import Inventory, Moved, Subject
from lineshaft_job_runner.types.backup.vault import Vault

PROGRESS_TOTAL = 1_000


@dataclass(frozen=True, kw_only=True)
class Run:
    """One attempt at one set."""

    context: JobContext
    name: str
    backup_set: BackupSet
    subject: Subject
    vault: Vault
    work: Path

    @property
    def scratch(self) -> str:
        """Name the scratch place after the job, so that a retry finds what was left behind."""
        return f"lineshaft_scratch_{self.context.job_id[-12:]}"

    def moved(self, begin: int, end: int, bytes_expected: int, message: str) -> Moved:
        """Return what moves the progress from `begin` to `end` of 1,000 as bytes go through."""
        loop = asyncio.get_running_loop()

        def move(done: int) -> None:
            share = min(1.0, done / max(1, bytes_expected))
            at = begin + int((end - begin) * share)
            loop.call_soon_threadsafe(self.context.progress, at, PROGRESS_TOTAL, message)

        return move

    async def fetch(self, manifest: BackupManifest) -> Path:
        """Fetch and decrypt what is stored; raises DamagedError when it is not what was stored."""
        fetched, opened = self.work / "fetched", self.work / "opened"
        digest = await self.vault.fetch(self.context, manifest, fetched)
        if digest != manifest.sha256:
            raise DamagedError("the stored object is missing, or its SHA-256 differs")
        if not manifest.encrypted or self.backup_set.encryption is None:
            return fetched
        await asyncio.to_thread(packing.decrypt, fetched, opened, self.backup_set.encryption)
        fetched.unlink()
        return opened

    async def restored(
        self, path: Path, manifest: BackupManifest, moved: Moved
    ) -> tuple[Inventory, float]:
        """Restore into the scratch place, compare, and say how long it took."""
        began = time.monotonic()
        await self.subject.remove(self.scratch)
        found = await self.subject.restore(path, self.scratch, manifest.restores_with, moved)
        differs = differences(manifest, found)
        if differs:
            raise DamagedError("the restored copy differs: " + "; ".join(differs[:5]))
        return found, time.monotonic() - began


def differences(manifest: BackupManifest, found: Inventory) -> list[str]:
    """Say in which items a copy differs from its manifest."""
    expected = {item.name: item for item in manifest.items}
    actual = {item.name: item for item in found.items}
    said = [f"{name} is missing" for name in expected if name not in actual]
    said += [f"{name} is too much" for name in actual if name not in expected]
    for name, item in expected.items():
        other = actual.get(name, item)
        if other.rows != item.rows:
            said.append(f"{name} has {other.rows}, not {item.rows}")
        elif other.digest != item.digest:
            said.append(f"{name} has another checksum")
    if dict(found.parts) != manifest.parts:
        said.append(f"around them: {dict(found.parts)}, not {manifest.parts}")
    return said


def backup_id(job_id: str) -> str:
    """Name a backup after its job: the same at every attempt, and in the order of time."""
    number = UUID(job_id)
    at = datetime.fromtimestamp((number.int >> 80) / 1000, UTC)
    return f"{at:%Y%m%dT%H%M%SZ}-{number.hex[-12:]}"


def first_items(items: Sequence[BackupItem]) -> tuple[BackupItem, ...]:
    """Return what a result shows."""
    return tuple(items[:100])


@asynccontextmanager
async def opened(context: JobContext, name: str) -> AsyncGenerator[Run]:
    """Find the set and prepare; the work folder and the scratch place are removed afterwards."""
    settings = BackupSettings()
    backup_set = find(settings, name, tenant=context.tenant)
    base = settings.backup_work_folder or Path(tempfile.gettempdir())
    work = base / f"lineshaft-backup-{context.job_id}"
    shutil.rmtree(work, ignore_errors=True)  # Of an attempt that was killed.
    work.mkdir(parents=True, mode=0o700)
    try:
        yield Run(
            context=context,
            name=name,
            backup_set=backup_set,
            subject=_subject(context, backup_set, settings, work),
            vault=Vault(backup_set.vault_url(), tenant=context.tenant, backup_set=name),
            work=work,
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _subject(
    context: JobContext, backup_set: BackupSet, settings: BackupSettings, work: Path
) -> Subject:
    match backup_set.kind:
        case BackupKind.POSTGRESQL:
            return Database(context, backup_set, settings.postgres_programs)
        case BackupKind.SQLITE:
            return DatabaseFile(context, backup_set, work)
        case BackupKind.FOLDER:
            return FolderTree(context, backup_set, work)
        case _:
            assert_never(backup_set.kind)
