"""What the monitor measures by itself, each collector within a deadline."""

from typing import Protocol

from lineshaft_monitor.samples.series import Key


class Collector(Protocol):
    """Reads one thing; raises when it cannot be read, and never invents a value."""

    @property
    def name(self) -> str:
        """Name the source of its samples."""
        ...

    async def collect(self) -> dict[Key, float]:
        """Read it now."""
        ...
