"""Settings of one edge, read from the environment."""

from pathlib import Path
from typing import Annotated

from lineshaft_common.settings import Settings
from lineshaft_contracts.envelope import WORD
from pydantic import Field, HttpUrl, StringConstraints


class EdgeSettings(Settings):
    """What one region's edge needs to know; sizes in bytes."""

    region: Annotated[str, StringConstraints(pattern=WORD)]
    origin_url: HttpUrl
    """Base address of the origin; the path of a request is appended."""
    policy_file: Path | None = None
    """YAML with the rules for what the origin leaves open; the packaged one when absent."""
    forward_host: bool = False
    """Whether the client's Host is sent to the origin and is part of the cache key."""
    memory_bytes_max: Annotated[int, Field(ge=1_048_576)] = 256 * 1024**2
    object_bytes_max: Annotated[int, Field(ge=1)] = 32 * 1024**2
    """Longer bodies are passed through."""
    variants_max: Annotated[int, Field(ge=1)] = 32
    upload_bytes_max: Annotated[int, Field(ge=0)] = 16 * 1024**2
    upload_idle_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    """How long a client may take to send the next chunk of a body."""
    waiters_max: Annotated[int, Field(ge=1)] = 20_000
    wait_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    send_timeout_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How long a client may take to accept one chunk."""
    origin_connections_max: Annotated[int, Field(ge=2)] = 64
    """Half of them for requests that pass through to one client, the others for the cache."""
    origin_passing_per_client_max: Annotated[int, Field(ge=1)] = 16
    """Requests that pass through for one client address at a time; others wait."""
    origin_acquire_timeout_seconds: Annotated[float, Field(gt=0)] = 10.0
    origin_connect_timeout_seconds: Annotated[float, Field(gt=0)] = 5.0
    origin_head_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
    origin_idle_timeout_seconds: Annotated[float, Field(gt=0)] = 30.0
