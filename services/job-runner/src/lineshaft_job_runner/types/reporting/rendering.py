"""What each format offers: one file that tables are written to, one after the other."""

from collections.abc import Sequence
from typing import Protocol

from lineshaft_job_runner.types.reporting.document import Row, Table


class Renderer(Protocol):
    """Writes a document to one file, with its figures and charts before the first table."""

    @property
    def rows(self) -> int:
        """Of the current table, so far."""
        ...

    def begin(self, table: Table) -> None:
        """Begin the next table."""
        ...

    def add(self, rows: Sequence[Row]) -> None:
        """Write the next rows of it."""
        ...

    def close(self) -> int | None:
        """Finish the file; returns its pages when it has any."""
        ...

    def abandon(self) -> None:
        """Let go of a file that is not to be finished."""
        ...

    def warnings(self) -> Sequence[str]:
        """Say what could not be shown as it is."""
        ...
