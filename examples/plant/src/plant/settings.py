"""What the application takes from its environment."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Variables of the prefix PLANT_; the first four have no default."""

    postgres_url: str
    http_port: int
    gateway_url: str
    api_key_file: Path
    """A file with an API key of Lineshaft's; read at each shift, so that it can be rotated."""
    http_host: str = "127.0.0.1"
    tenant: str = "acme"
    """Owner of the API key, and so the first word of every equipment path."""

    @classmethod
    def read(cls, environment: Mapping[str, str] = os.environ) -> Self:
        """Read the environment; raises KeyError with the name of a missing variable."""
        return cls(
            postgres_url=environment["PLANT_POSTGRES_URL"],
            http_port=int(environment["PLANT_HTTP_PORT"]),
            gateway_url=environment["PLANT_GATEWAY_URL"],
            api_key_file=Path(environment["PLANT_API_KEY_FILE"]),
            http_host=environment.get("PLANT_HTTP_HOST", cls.http_host),
            tenant=environment.get("PLANT_TENANT", cls.tenant),
        )
