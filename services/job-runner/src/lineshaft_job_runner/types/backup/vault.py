"""Where backups are kept: content first, its manifest last, both whole or not at all."""

import asyncio
import hashlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

import obstore
from lineshaft_contracts.backups import BACKUP_ID, BackupManifest
from obstore.exceptions import BaseError
from obstore.store import ObjectStore, from_url
from pydantic import ValidationError

from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.backup.packing import BLOCK_BYTES
from lineshaft_job_runner.types.cancellation import stop_if_cancelled

MANIFEST = "manifest.json"
PART = ".part"
_ID = re.compile(BACKUP_ID)


class Vault:
    """The backups of one set of one tenant.

    In a folder a file is written under another name, flushed to the disk, and renamed; an object
    store shows an object when it is complete. A backup without a manifest is none: it was broken
    off, or is being made.
    """

    def __init__(self, store_url: str, *, tenant: str, backup_set: str) -> None:
        parts = urlsplit(store_url)
        self._folder = Path(unquote(parts.path)) if parts.scheme == "file" else None
        try:
            if self._folder is not None:
                self._folder.mkdir(parents=True, exist_ok=True)
            self._store: ObjectStore = from_url(store_url)
        except (OSError, ValueError, BaseError) as error:
            raise PermanentError(
                "backup_not_configured", f"store_url: {type(error).__name__}: {error}"[:300]
            ) from error
        self._prefix = f"{tenant}/{backup_set}"

    async def put(self, backup_id: str, name: str, path: Path) -> None:
        """Store a file."""
        key = self._key(backup_id, name)
        try:
            if self._folder is not None:
                await asyncio.to_thread(_copy_durably, path, self._folder / key)
            else:
                await obstore.put_async(self._store, key, path)
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error

    async def put_manifest(self, manifest: BackupManifest, work: Path) -> None:
        """Store the manifest: from now on there is this backup."""
        path = work / MANIFEST
        path.write_text(manifest.model_dump_json(indent=1), encoding="utf-8")
        await self.put(manifest.backup_id, MANIFEST, path)

    async def fetch(self, context: JobContext, manifest: BackupManifest, to: Path) -> str:
        """Copy the content of a backup from where it is stored; returns its SHA-256 as found."""
        digest = hashlib.sha256()
        try:
            found = await obstore.get_async(
                self._store, self._key(manifest.backup_id, manifest.object)
            )
            with to.open("wb") as file:
                async for block in found.stream(min_chunk_size=BLOCK_BYTES):
                    stop_if_cancelled(context)
                    digest.update(block)
                    file.write(block)
        except FileNotFoundError:
            return ""
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error
        return digest.hexdigest()

    async def manifests(self) -> list[BackupManifest]:
        """Read all manifests, the oldest snapshot first; one that cannot be read is none."""
        found: list[BackupManifest] = []
        for backup_id, names in (await self._listing()).items():
            if MANIFEST not in names:
                continue
            manifest = await self.manifest(backup_id)
            if manifest is not None:
                found.append(manifest)
        return sorted(found, key=lambda m: (m.snapshot_at, m.backup_id))

    async def manifest(self, backup_id: str) -> BackupManifest | None:
        """Read one manifest."""
        try:
            found = await obstore.get_async(self._store, self._key(backup_id, MANIFEST))
            content = bytes(await found.bytes_async())
            manifest = BackupManifest.model_validate_json(content)
        except (FileNotFoundError, ValidationError):
            return None
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error
        return manifest if manifest.backup_id == backup_id else None

    async def unfinished(self) -> list[str]:
        """List what has no manifest."""
        listing = await self._listing()
        return sorted(backup_id for backup_id, names in listing.items() if MANIFEST not in names)

    async def tidy(self, manifest: BackupManifest) -> None:
        """Delete what earlier attempts at this backup left beside it."""
        names = (await self._listing()).get(manifest.backup_id, [])
        kept = {MANIFEST, manifest.object}
        left = [self._key(manifest.backup_id, name) for name in names if name not in kept]
        try:
            if left:
                await obstore.delete_async(self._store, left)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error

    async def delete(self, backup_id: str) -> None:
        """Delete a backup: the manifest first, so that none ever promises what is not there."""
        names = (await self._listing()).get(backup_id, [])
        try:
            for name in sorted(names, key=lambda name: name != MANIFEST):
                await obstore.delete_async(self._store, [self._key(backup_id, name)])
            if self._folder is not None:
                place = self._folder / self._key(backup_id, "")
                await asyncio.to_thread(_remove_empty, place)
        except FileNotFoundError:
            return
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error

    def _key(self, backup_id: str, name: str) -> str:
        return f"{self._prefix}/{backup_id}/{name}"

    async def _listing(self) -> dict[str, list[str]]:
        try:
            listed = await asyncio.to_thread(
                lambda: obstore.list(self._store, f"{self._prefix}/").collect()
            )
        except (OSError, BaseError) as error:
            raise _unavailable(error) from error
        found: dict[str, list[str]] = {}
        for item in listed:
            backup_id, _, name = item["path"].removeprefix(f"{self._prefix}/").partition("/")
            if _ID.fullmatch(backup_id):
                found.setdefault(backup_id, []).append(name)
        return found


def newest_verified(manifests: Sequence[BackupManifest]) -> BackupManifest | None:
    """Return the newest backup that was verified at all."""
    return next((m for m in reversed(manifests) if m.verified is not None), None)


def _copy_durably(path: Path, place: Path) -> None:
    """Copy a file so that its name is there only with all of it, also after a power cut."""
    place.parent.mkdir(parents=True, exist_ok=True)
    aside = place.with_name(place.name + PART)
    with path.open("rb") as source, aside.open("wb") as target:
        while block := source.read(BLOCK_BYTES):
            target.write(block)
        target.flush()
        os.fsync(target.fileno())
    aside.replace(place)
    for folder in (place.parent, place.parent.parent):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _remove_empty(place: Path) -> None:
    if place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def _unavailable(error: Exception) -> RetryableError:
    return RetryableError("backup_store_unavailable", f"{type(error).__name__}: {error}"[:500])
