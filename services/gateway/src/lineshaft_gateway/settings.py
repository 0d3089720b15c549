"""Settings of the gateway."""

from pathlib import Path
from typing import Annotated

from lineshaft_common.settings import DatabaseSettings
from lineshaft_contracts.envelope import Tenant
from lineshaft_contracts.topology import REGIONS
from pydantic import Field

from lineshaft_gateway.ring import Ring

MEBIBYTE = 1024 * 1024


class GatewaySettings(DatabaseSettings):
    """Limits are per gateway process."""

    admin_key_file: Path | None = None
    """Where the first key is written (mode 0600) when the file is missing or its key is void."""
    default_tenant: Annotated[Tenant, Field(pattern="^[^_]")] = "acme"
    """Tenant of the admin key; those that begin with `_` are the platform's own."""
    cdn_regions: tuple[str, ...] = REGIONS
    """Regions that have a cdn-edge; a purge waits for each of them."""
    body_bytes_max: Annotated[int, Field(ge=1024, le=64 * MEBIBYTE)] = MEBIBYTE
    requests_per_second: Annotated[float, Field(gt=0)] = 500.0
    """Sustained rate of one API key."""
    requests_burst: Annotated[int, Field(ge=1)] = 1000
    """How many requests a key may save up."""
    streams_max: Annotated[int, Field(ge=1)] = 5000
    streams_per_tenant_max: Annotated[int, Field(ge=1)] = 1000
    websocket_origins: tuple[str, ...] = ()
    """Origins whose pages may open a WebSocket, beside the gateway's own."""
    replays_max: Annotated[int, Field(ge=1)] = 16
    """Streams that read the log at once because the ring no longer holds what they missed."""
    replays_per_tenant_max: Annotated[int, Field(ge=1)] = 4
    """How many of these one tenant may have; its others wait."""
    downloads_max: Annotated[int, Field(ge=1)] = 64
    """Artifacts that are sent at once; each takes about 2 MiB of memory."""
    downloads_per_tenant_max: Annotated[int, Field(ge=1)] = 16
    """Of one tenant."""
    ring_frames_max: Annotated[int, Field(ge=1)] = 20_000
    ring_bytes_max: Annotated[int, Field(ge=1024)] = 16 * MEBIBYTE
    """Recent events kept in memory for streams that come back."""
    heartbeat_seconds: Annotated[float, Field(gt=0, le=60)] = 15.0

    def ring(self) -> Ring:
        """Make the ring of recent events."""
        return Ring(frames_max=self.ring_frames_max, bytes_max=self.ring_bytes_max)
