"""Time, so that tests can turn it."""

import time
from typing import Protocol


class Clock(Protocol):
    """Wall time for dates that travel, monotonic time for everything that only lasts."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never step back."""
        ...


class SystemClock:
    """The machine's clocks."""

    def wall(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never step back."""
        return time.monotonic()
