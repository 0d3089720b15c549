"""Settings that every service reads from the environment."""

import secrets
from pathlib import Path
from typing import Annotated, Self

from pydantic import AmqpDsn, Field, PostgresDsn, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict


def _instance() -> str:
    return secrets.token_hex(4)


class SettingsError(SystemExit):
    """A setting is missing or malformed; the message names each one and its variable."""


class Settings(BaseSettings):
    """Read once at start-up; a missing or malformed value stops the process with its name."""

    model_config = SettingsConfigDict(
        env_prefix="LINESHAFT_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    amqp_url: AmqpDsn
    """RabbitMQ, with the virtual host as path."""
    http_host: str = "127.0.0.1"
    http_port: Annotated[int, Field(ge=0, le=65_535)] = 8080
    """0 takes any free port."""
    instance: Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,32}$")] = Field(
        default_factory=_instance
    )
    """Names this process among the replicas of its service; random unless given."""
    log_level: Annotated[str, StringConstraints(pattern="^(debug|info|warning|error)$")] = "info"
    metrics_interval_seconds: Annotated[float, Field(gt=0, le=3600)] = 30.0
    trace_sample_ratio: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of traces that start here and are recorded; a caller's decision is followed."""
    object_store_url: str = Field(
        default_factory=lambda: Path(".lineshaft/objects").resolve().as_uri()
    )
    """Where artifacts are kept: file:///, s3://, gs:// or az://."""

    @classmethod
    def from_environment(cls) -> Self:
        """Read every setting, or stop, naming each one that is missing or malformed."""
        try:
            return cls.model_validate({})
        except ValidationError as error:
            lines = [f"  {cls._variable(item['loc'])}: {item['msg']}" for item in error.errors()]
            raise SettingsError("settings are not usable:\n" + "\n".join(lines)) from None

    @classmethod
    def _variable(cls, location: tuple[int | str, ...]) -> str:
        return f"{cls.model_config.get('env_prefix', '')}{location[0] if location else ''}".upper()


class DatabaseSettings(Settings):
    """Settings of a service that has a database of its own."""

    postgres_url: PostgresDsn
    postgres_connections_max: Annotated[int, Field(ge=2, le=200)] = 10
