"""Secrets of the sources file: named there, kept elsewhere."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_job_runner.source_errors import SourceError

SECRET_BYTES_MAX = 65_536

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]


class SecretReference(BaseModel):
    """Where a secret is kept: in an environment variable, or in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    env: Variable | None = None
    file: Path | None = None
    """Its content without line ends at the end."""
    prefix: Annotated[str, Field(max_length=64)] = ""
    """Text before the secret, such as "Bearer "."""

    @model_validator(mode="after")
    def _is_in_one_place(self) -> Self:
        if (self.env is None) == (self.file is None):
            raise ValueError("a secret is in env or in file")
        return self

    def resolve(self, source: str, environment: Mapping[str, str]) -> str:
        """Return the secret; raises SourceError that names the place, never the content."""
        if self.env is not None:
            value, place = environment.get(self.env), f"the environment variable {self.env}"
        else:
            value, place = _content(self.file), f"the file {self.file}"
        if not value:
            raise SourceError(
                "source_not_configured",
                f"data source {source!r} takes its address or a secret from {place}, "
                "which is not set",
            )
        return self.prefix + value


def _content(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        with path.open(encoding="utf-8") as file:
            return file.read(SECRET_BYTES_MAX).rstrip("\r\n")
    except (OSError, UnicodeError):
        return ""
