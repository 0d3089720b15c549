"""The digest of everything that a job's result depends on."""

import hashlib
from collections.abc import Iterable
from typing import Any

from lineshaft_contracts.job_parameters import JobParameters


class InputDigest:
    """SHA-256 over the parameters, then over what was read, in order and however batched."""

    def __init__(self, parameters: JobParameters) -> None:
        self._hash = hashlib.sha256(parameters.model_dump_json().encode())

    def add_rows(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Add rows of plain values; floats count with every digit."""
        for row in rows:
            self._hash.update(repr(row).encode())

    def add_bytes(self, content: bytes) -> None:
        """Add values in a binary form, such as that of an array."""
        self._hash.update(content)

    def hexadecimal(self) -> str:
        """Return the digest of what was added so far."""
        return self._hash.hexdigest()
