"""The backups file: what may be backed up, by whom, and where to; the operator's, by name."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from lineshaft_contracts.backups import BackupKind, Verification
from lineshaft_contracts.job_parameters import Name
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict

from lineshaft_job_runner.job_type import PermanentError

Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]


class BackupSettings(BaseSettings):
    """What a job reads from its environment."""

    model_config = SettingsConfigDict(
        env_prefix="LINESHAFT_", frozen=True, extra="ignore", use_attribute_docstrings=True
    )

    backups_file: Path | None = None
    """YAML file of the backup sets."""
    backup_work_folder: Path | None = None
    """Where dumps are made before they are stored; the system's temporary folder when absent."""
    postgres_programs: Path | None = None
    """Folder with pg_dump, pg_restore and psql; those of the system when absent."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Keep(_Entry):
    """Grandfather, father, son: of each period the newest verified backup, so many periods."""

    last: Annotated[int, Field(ge=1, le=1_000)] = 3
    daily: Annotated[int, Field(ge=0, le=3_650)] = 7
    weekly: Annotated[int, Field(ge=0, le=520)] = 5
    monthly: Annotated[int, Field(ge=0, le=240)] = 12
    yearly: Annotated[int, Field(ge=0, le=100)] = 0


class Encryption(_Entry):
    """Encryption with age (age-encryption.org), for several readers if need be."""

    recipients: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^age1[0-9a-z]{20,200}$")], ...],
        Field(min_length=1, max_length=20),
    ]
    """Public keys."""
    identity_file: Path
    """A private key of one of them: without it nothing could be verified."""


class BackupSet(_Entry):
    """One thing that is backed up as a whole."""

    kind: BackupKind
    tenants: Annotated[tuple[str, ...], Field(min_length=1)]
    """Who may back it up and restore it; there is no default."""
    url_env: Variable | None = None
    """postgresql: variable with the address of the database."""
    scratch_url_env: Variable | None = None
    """postgresql: of a server where databases may be made for a moment; the same when absent."""
    path: Path | None = None
    """sqlite: the file; folder: the folder."""
    restore_folder: Path | None = None
    """sqlite, folder: where restored copies appear."""
    store_url: str | None = None
    """file:///, s3://, gs:// or az://, with a path; credentials as the libraries find them."""
    store_url_env: Variable | None = None
    """Or a variable that holds it."""
    encryption: Encryption | None = None
    verification: Verification = Verification.RESTORE
    """What a backup must have passed to count."""
    keep: Keep = Keep()
    compression_level: Annotated[int, Field(ge=1, le=19)] = 3
    timeout_seconds: Annotated[float, Field(gt=0, le=86_400)] = 14_400.0
    """For each program that is run."""

    @model_validator(mode="after")
    def _says_where(self) -> Self:
        if (self.kind is BackupKind.POSTGRESQL) == (self.url_env is None):
            raise ValueError("url_env belongs to kind postgresql, and only there")
        if (self.kind is BackupKind.POSTGRESQL) == (self.path is not None):
            raise ValueError("path belongs to the kinds sqlite and folder")
        if (self.store_url is None) == (self.store_url_env is None):
            raise ValueError("store_url or store_url_env says where backups are kept")
        return self

    def database_url(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the address of the database."""
        return _address(self.url_env, environment)

    def vault_url(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return where backups are kept."""
        return self.store_url or _address(self.store_url_env, environment)

    def scratch_url(self, environment: Mapping[str, str] = os.environ) -> str:
        """Return the address of the server for scratch databases."""
        return _address(self.scratch_url_env or self.url_env, environment)


class _File(_Entry):
    version: Literal[1] = 1
    backups: dict[Name, BackupSet] = Field(default_factory=dict)


def _address(variable: str | None, environment: Mapping[str, str]) -> str:
    url = environment.get(variable or "")
    if not url:
        raise PermanentError(
            "backup_not_configured", f"the environment variable {variable} is not set"
        )
    return url


def find(settings: BackupSettings, name: str, *, tenant: str) -> BackupSet:
    """Find a set that is open to the tenant; PermanentError says what is wrong."""
    sets = _load(settings.backups_file)
    found = sets.get(name)
    if found is None or tenant not in found.tenants:
        known = ", ".join(sorted(n for n, s in sets.items() if tenant in s.tenants)) or "none"
        raise PermanentError(
            "backup_set_unknown",
            f"no backup set {name!r} is open to this tenant; there are: {known}",
        )
    return found


def _load(path: Path | None) -> dict[str, BackupSet]:
    if path is None:
        raise PermanentError("backup_not_configured", "LINESHAFT_BACKUPS_FILE is not set")
    try:
        content: object = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        return _File.model_validate(content).backups
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        raise PermanentError("backup_not_configured", f"{path.name}: {error}") from error
    except ValidationError as error:
        findings = "; ".join(
            f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}"
            for finding in error.errors(include_url=False, include_input=False)
        )
        raise PermanentError("backup_not_configured", f"{path.name}: {findings}") from error
