"""Packing and unpacking: zstd with a checksum, digests on the way, age around it if asked for."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

import pyrage
import zstandard
from pyrage import x25519

from lineshaft_job_runner.job_type import PermanentError
from lineshaft_job_runner.types.backup.sets import Encryption

BLOCK_BYTES = 1024 * 1024


class DamagedError(Exception):
    """What is stored is not what was stored; the message says how that is known."""


class Packer:
    """Writes content into a compressed file, which is complete when the block has ended."""

    def __init__(self, path: Path, *, level: int) -> None:
        self.content_bytes = 0
        self._digest = hashlib.sha256()
        self._file = path.open("wb")
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._writer = compressor.stream_writer(self._file, closefd=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._writer.close()
        finally:
            self._file.close()

    def write(self, block: bytes) -> int:
        """Add content; returns its bytes, as a file does."""
        self._digest.update(block)
        self.content_bytes += len(block)
        self._writer.write(block)
        return len(block)

    def flush(self) -> None:
        """Nothing: it is flushed at the end."""

    @property
    def content_sha256(self) -> str:
        """Return the digest of what was added."""
        return self._digest.hexdigest()


def unpacked(path: Path) -> Iterator[bytes]:
    """Give the content in blocks; raises DamagedError also when the end is missing."""
    decompressor = zstandard.ZstdDecompressor().decompressobj()
    with path.open("rb") as file:
        try:
            while block := file.read(BLOCK_BYTES):
                content = decompressor.decompress(block)
                if content:
                    yield content
                if decompressor.eof:
                    break
        except zstandard.ZstdError as error:
            raise DamagedError(f"it cannot be unpacked: {error}") from error
        if not decompressor.eof:
            raise DamagedError("it ends in the middle")
        if decompressor.unused_data or file.read(1):
            raise DamagedError("something follows its end")


def measured(path: Path) -> tuple[int, str]:
    """Return bytes and SHA-256 of a file."""
    with path.open("rb") as file:
        return path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest()


def encrypt(path: Path, encrypted: Path, encryption: Encryption) -> None:
    """Encrypt a file for all recipients, and remove the open one."""
    try:
        recipients = [x25519.Recipient.from_str(text) for text in encryption.recipients]
    except pyrage.RecipientError as error:
        raise PermanentError(
            "backup_not_configured", f"a recipient is no age key: {error}"
        ) from error
    pyrage.encrypt_file(str(path), str(encrypted), recipients)
    path.unlink()


def decrypt(path: Path, decrypted: Path, encryption: Encryption) -> None:
    """Decrypt a file; raises DamagedError when it is not whole, or not for this key."""
    try:
        lines = encryption.identity_file.read_text(encoding="utf-8").split()
        identities = [
            x25519.Identity.from_str(line) for line in lines if line.startswith("AGE-SECRET-KEY-")
        ]
    except (OSError, pyrage.IdentityError) as error:
        raise PermanentError(
            "backup_not_configured", f"the identity file cannot be used: {type(error).__name__}"
        ) from error
    try:
        pyrage.decrypt_file(str(path), str(decrypted), identities)
    except (pyrage.DecryptError, OSError) as error:
        raise DamagedError(f"it cannot be decrypted: {error}") from error
