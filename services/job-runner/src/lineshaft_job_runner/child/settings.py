"""Settings of a child process: none of the engine's own secrets are among them."""

from pathlib import Path

from pydantic_settings import BaseSettings, SettingsConfigDict


class ChildSettings(BaseSettings):
    """What a child reads from the environment that the runner leaves it."""

    model_config = SettingsConfigDict(env_prefix="LINESHAFT_", frozen=True, extra="ignore")

    object_store_url: str
    sources_file: Path | None = None


WITHHELD = frozenset({"LINESHAFT_POSTGRES_URL", "LINESHAFT_AMQP_URL"})
"""Variables that job code must not see."""
