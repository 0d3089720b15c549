"""The log of one process: appended to by the process itself, kept within a bound by us."""

import os
import shutil
from pathlib import Path

BYTES_MAX = 10 * 1024 * 1024
TAIL_BYTES = 64 * 1024


class LogFile:
    """`<name>.log`, and `<name>.log.1` once it has grown past the bound."""

    def __init__(self, path: Path, *, bytes_max: int = BYTES_MAX) -> None:
        self.path = path
        self._bytes_max = bytes_max

    def open(self) -> int:
        """Return a descriptor that a child writes to; appending, so that truncation is safe."""
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        return os.open(self.path, flags, 0o600)

    def shorten(self) -> None:
        """Move a log past its bound aside; lines written in this very moment may be lost."""
        try:
            if self.path.stat().st_size <= self._bytes_max:
                return
            shutil.copyfile(self.path, self.path.with_name(f"{self.path.name}.1"))
            os.truncate(self.path, 0)
        except FileNotFoundError:
            return

    def tail(self, lines: int) -> list[str]:
        """Return the last lines; none when the log does not exist."""
        try:
            with self.path.open("rb") as file:
                file.seek(max(0, self.path.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace").splitlines()[-lines:]
        except FileNotFoundError:
            return []
