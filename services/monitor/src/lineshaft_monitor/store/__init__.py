"""The monitor's database: the only place with SQL."""

from dataclasses import dataclass

from lineshaft_common.postgres import Pool

from lineshaft_monitor.store.alerts import AlertTables
from lineshaft_monitor.store.database import Database
from lineshaft_monitor.store.partitions import Partitions
from lineshaft_monitor.store.processes import ProcessTable
from lineshaft_monitor.store.samples import SampleTables
from lineshaft_monitor.store.spans import SpanTable

PACKAGES = ("lineshaft_common", "lineshaft_monitor")
"""Whose migrations its database needs."""


@dataclass(frozen=True, kw_only=True)
class Store:
    """All tables, by family."""

    alerts: AlertTables
    database: Database
    partitions: Partitions
    processes: ProcessTable
    samples: SampleTables
    spans: SpanTable

    @classmethod
    def on(cls, pool: Pool) -> "Store":
        """Use one pool for all of them."""
        return cls(
            alerts=AlertTables(pool),
            database=Database(pool),
            partitions=Partitions(pool),
            processes=ProcessTable(pool),
            samples=SampleTables(pool),
            spans=SpanTable(pool),
        )
