"""Settings of the monitor."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from lineshaft_common.settings import DatabaseSettings
from pydantic import AliasChoices, Field

NAME = "monitor"
LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class MonitorSettings(DatabaseSettings):
    """Read once at start-up from the environment."""

    rules_file: Path | None = None
    """Alert rules; the packaged ones when not given."""
    sample_retention_days: Annotated[int, Field(ge=1, le=400)] = 14
    span_retention_days: Annotated[int, Field(ge=1, le=90)] = 3
    series_per_metric_max: Annotated[int, Field(ge=1, le=100_000)] = 1_000
    """Cardinality guard: further series of a metric (of one tenant) are refused,
    counted and alerted on."""
    disk_path: Path = Path("/")
    """The file system whose space is watched."""
    traces_url: Annotated[
        str | None, Field(validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_ENDPOINT"))
    ] = None
    """Where spans of every service are sent to; by default the monitor itself."""

    @property
    def keeps_own_spans(self) -> bool:
        """Whether the spans of this process end here anyway, and need no way over HTTP."""
        if not self.traces_url:
            return True
        url = urlsplit(self.traces_url)
        return url.port == self.http_port and url.hostname in {*LOOPBACK, NAME, self.http_host}
