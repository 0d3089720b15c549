"""A folder as a subject: a tar of regular files, folders and links, each file with its digest."""

import asyncio
import hashlib
import io
import shutil
import tarfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, cast

from lineshaft_contracts.backups import BackupItem

from lineshaft_job_runner.job_type import JobContext, PermanentError, RetryableError
from lineshaft_job_runner.types.backup.packing import DamagedError, Packer, unpacked
from lineshaft_job_runner.types.backup.sets import BackupSet
from lineshaft_job_runner.types.backup.subject import Dumped, Examined, Inventory, Moved
from lineshaft_job_runner.types.cancellation import stop_if_cancelled


class FolderTree:
    """See `Subject`. A file that changes while it is read fails the attempt."""

    def __init__(self, context: JobContext, backup_set: BackupSet, scratch: Path) -> None:
        self._context = context
        self._set = backup_set
        self._scratch = scratch
        self._root = Path() if backup_set.path is None else backup_set.path

    async def examine(self) -> Examined:
        """Count the files."""
        files = await asyncio.to_thread(lambda: [p for p in self._paths() if p.is_file()])
        return Examined(
            version="files",
            made_by=f"tarfile of Python, {tarfile.__name__}",
            bytes_estimated=sum(path.stat().st_size for path in files),
            items=len(files),
        )

    async def dump(self, path: Path, moved: Moved) -> Dumped:
        """Pack the folder in the order of names."""
        at = datetime.now(UTC)
        return await asyncio.to_thread(self._dump, path, moved, at)

    async def restore(
        self, path: Path, scratch: str, restores_with: Mapping[str, str], moved: Moved
    ) -> Inventory:
        """Unpack into a new folder, and read every file again."""
        return await asyncio.to_thread(self._restore, path, self._place(scratch), moved)

    async def remove(self, scratch: str) -> None:
        """Remove a folder that was unpacked."""
        await asyncio.to_thread(shutil.rmtree, self._place(scratch), ignore_errors=True)

    async def is_free(self, target: str) -> bool:
        """Look for the name."""
        return not restored_place(self._set, target).exists()

    async def publish(self, scratch: str, target: str) -> None:
        """Rename the folder."""
        rename_once(self._place(scratch), restored_place(self._set, target))

    def _place(self, scratch: str) -> Path:
        return scratch_place(self._set, self._scratch, scratch)

    def _paths(self) -> Iterator[Path]:
        if not self._root.is_dir():
            raise PermanentError("backup_source_missing", f"{self._root} is no folder")
        yield from sorted(self._root.rglob("*"))

    def _dump(self, path: Path, moved: Moved, at: datetime) -> Dumped:
        items: list[BackupItem] = []
        with (
            Packer(path, level=self._set.compression_level) as packer,
            # A stream is only written to: of a file's methods it needs no other.
            tarfile.open(
                fileobj=cast("IO[bytes]", packer), mode="w|", format=tarfile.PAX_FORMAT
            ) as archive,
        ):
            for found in self._paths():
                stop_if_cancelled(self._context)
                name = found.relative_to(self._root).as_posix()
                if found.is_symlink() or found.is_dir():
                    archive.add(found, arcname=name, recursive=False)
                elif found.is_file():
                    items.append(self._add(archive, found, name))
                    moved(packer.content_bytes)
        return Dumped(
            snapshot_at=at,
            inventory=Inventory(items=tuple(items)),
            content_bytes=packer.content_bytes,
            content_sha256=packer.content_sha256,
        )

    def _add(self, archive: tarfile.TarFile, found: Path, name: str) -> BackupItem:
        with found.open("rb") as file:
            before = found.stat()
            reader = _Hashing(file)
            info = archive.gettarinfo(arcname=name, fileobj=file)
            try:
                archive.addfile(info, reader)
            except OSError as error:
                raise RetryableError("source_changed", f"{name} changed: {error}") from error
            after = found.stat()
        if (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns):
            raise RetryableError("source_changed", f"{name} changed while it was read")
        return BackupItem(name=name, rows=info.size, digest=reader.digest.hexdigest())

    def _restore(self, path: Path, place: Path, moved: Moved) -> Inventory:
        place.mkdir(parents=True)
        source = _Blocks(unpacked(path), moved)
        try:
            with tarfile.open(fileobj=source, mode="r|") as archive:
                for member in archive:
                    stop_if_cancelled(self._context)
                    archive.extract(member, place, filter="data")
        except tarfile.TarError as error:
            raise DamagedError(f"the archive cannot be read: {error}") from error
        source.drain()
        found = (p for p in sorted(place.rglob("*")) if p.is_file() and not p.is_symlink())
        return Inventory(items=tuple(_item(path, place) for path in found))


def restored_place(backup_set: BackupSet, target: str) -> Path:
    """Return where a copy of this name belongs; PermanentError when there is no folder for it."""
    if backup_set.restore_folder is None:
        raise PermanentError("backup_not_configured", "the set has no restore_folder")
    return backup_set.restore_folder / target


def scratch_place(backup_set: BackupSet, work: Path, scratch: str) -> Path:
    """Return where a copy is unpacked: beside its later place, so that a rename is enough."""
    return (backup_set.restore_folder or work) / f".{scratch}"


def rename_once(scratch: Path, place: Path) -> None:
    """Give a file or folder its name, unless there is one."""
    if place.exists():
        raise PermanentError("target_exists", f"{place.name} exists: nothing is overwritten")
    scratch.rename(place)


def _item(path: Path, root: Path) -> BackupItem:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    name = path.relative_to(root).as_posix()
    return BackupItem(name=name, rows=path.stat().st_size, digest=digest)


class _Hashing(io.RawIOBase):
    """Reads a file and sums it up."""

    def __init__(self, file: io.BufferedReader) -> None:
        super().__init__()
        self.digest = hashlib.sha256()
        self._file = file

    def read(self, size: int = -1) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block


class _Blocks(io.RawIOBase):
    """Gives blocks as a file that can only be read on."""

    def __init__(self, blocks: Iterator[bytes], moved: Moved) -> None:
        super().__init__()
        self._blocks = blocks
        self._moved = moved
        self._rest = b""
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            block = next(self._blocks, b"")
            if not block:
                break
            self._rest += block
        given = self._rest if size < 0 else self._rest[:size]
        self._rest = self._rest[len(given) :]
        self._done += len(given)
        self._moved(self._done)
        return given

    def drain(self) -> None:
        """Read to the end: what is damaged there counts too."""
        for _ in self._blocks:
            pass
