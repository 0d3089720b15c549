"""Settings of the monitor."""

from pathlib import Path
from typing import Annotated

from lineshaft_common.settings import DatabaseSettings
from pydantic import Field


class MonitorSettings(DatabaseSettings):
    """Read once at start-up from the environment."""

    rules_file: Path | None = None
    """Alert rules; the packaged ones when not given."""
    sample_retention_days: Annotated[int, Field(ge=1, le=400)] = 14
    span_retention_days: Annotated[int, Field(ge=1, le=90)] = 3
    series_per_metric_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Cardinality guard: further series of a metric are refused, counted and alerted on."""
    disk_path: Path = Path("/")
    """The file system whose space is watched."""
