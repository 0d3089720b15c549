"""What every measured job does: it writes down when it was submitted and when it began.

Standard library only: it runs in the environment of each peer, and in ours.
"""

import os
import struct
import time
from pathlib import Path

RECORD = struct.Struct("<dd")
"""Submitted at and begun at, both in seconds of this machine's clock."""


class RecordFile:
    """A file in memory; a record is one append, so any number of processes may write."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def write(self, submitted_at: float) -> None:
        """Append one record; the file is opened here, after a worker has forked."""
        if self._descriptor is None:
            path = Path(os.environ["BENCH_RECORDS"])
            self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(self._descriptor, RECORD.pack(submitted_at, time.time()))


note = RecordFile().write
