"""The gauge of queued jobs whose type no live worker serves: parked, not lost."""

from collections.abc import Mapping

from prometheus_client import Gauge

UNSERVED = Gauge(
    "lineshaft_jobs_unserved", "Queued jobs of a type that no live worker serves", ["type"]
)
TYPES_MAX = 50
OTHERS = "_other"
"""Names of unknown types come from submitters: those beyond TYPES_MAX share one series."""


class UnservedJobs:
    """Shows counts by type; a type that was shown goes to zero before it is left out.

    A series that just ends says "unknown" to the monitor, and its alert would stay open.
    """

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def show(self, counts: Mapping[str, int]) -> None:
        """Show the counts by type, largest first as given."""
        named = dict(list(counts.items())[:TYPES_MAX])
        rest = sum(counts.values()) - sum(named.values())
        if rest or OTHERS in self._shown:
            named[OTHERS] = rest
        done = [name for name, count in self._shown.items() if count == 0 and name not in named]
        for name in done:
            UNSERVED.remove(name)
        ended = dict.fromkeys(self._shown.keys() - named.keys() - set(done), 0)
        self._shown = named | ended
        for name, count in self._shown.items():
            UNSERVED.labels(name).set(count)
