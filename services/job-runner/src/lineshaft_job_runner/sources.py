"""The sources file: the user's own data under names that jobs may use."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from lineshaft_job_runner.secret_references import SecretReference, Variable
from lineshaft_job_runner.source_errors import (
    SourceError,
    SourcesFileError,
    SourceUnavailableError,
)
from lineshaft_job_runner.source_files import FolderEntry, ObjectStoreEntry
from lineshaft_job_runner.source_services import HttpEntry
from lineshaft_job_runner.source_tables import EntityEntry, Name, SavedQuery, Table

__all__ = [
    "EntityEntry",
    "SavedQuery",
    "SourceEntry",
    "SourceError",
    "SourceUnavailableError",
    "SourcesFile",
    "SourcesFileError",
]

KINDS = frozenset({"postgresql", "http", "folder", "object-store"})
_KIND_AT = 2
"""In the place of a finding: sources, name, kind."""


class _Addresses(BaseModel):
    """Where a database is; each address holds its role and password."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    url_env: Variable | None = None
    """Environment variable with the address for reading."""
    url_file: Path | None = None
    """Or a file that holds it."""
    write_url_env: Variable | None = None
    """Environment variable with the address for writing: a role with rights on the writable
    entities alone."""
    write_url_file: Path | None = None
    """Or a file that holds it."""

    @model_validator(mode="after")
    def _are_in_one_place(self) -> Self:
        if (self.url_env and self.url_file) or (self.write_url_env and self.write_url_file):
            raise ValueError("an address is in a variable or in a file, not in both")
        return self

    @property
    def reading(self) -> SecretReference | None:
        """Where the address for reading is kept."""
        return _reference(self.url_env, self.url_file)

    @property
    def writing(self) -> SecretReference | None:
        """Where the address for writing is kept."""
        return _reference(self.write_url_env, self.write_url_file)


class TenantAccess(_Addresses):
    """How one tenant reaches the source: by its own addresses, else by those of the source.

    A tenant with a database of its own is never written to through the address of the source.
    """


class SourceEntry(_Addresses):
    """A PostgreSQL database: saved queries, and entities that are read-only unless they say so."""

    kind: Literal["postgresql"]
    tenants: dict[Name, TenantAccess] | None = None
    """Who may use it, and which database it is for them; every tenant when absent."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    statement_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    lock_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 10
    """How long a write waits for rows that somebody else holds."""
    rows_max: Annotated[int, Field(ge=1)] = 10_000_000
    """A request for more rows is refused."""
    bytes_max: Annotated[int, Field(ge=1)] = 2 * 1024**3
    """A request is refused when its values are larger than this in memory."""
    batch_rows: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    ledger_table: Table = "lineshaft_applied"
    """Where it is noted, in the same transaction, which parts of which batch were written."""
    queries: dict[Name, SavedQuery] = Field(default_factory=dict)
    entities: dict[Name, EntityEntry] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _is_of_use(self) -> Self:
        tenants = self.tenants or {}
        if self.reading is None and (
            not tenants or any(tenant.reading is None for tenant in tenants.values())
        ):
            raise ValueError("url_env is needed here, or at each of the tenants")
        if not self.queries and not self.entities:
            raise ValueError("a source has queries, entities or both")
        return self

    def query(self, name: str) -> SavedQuery:
        """Find a saved query, or raise SourceError."""
        try:
            return self.queries[name]
        except KeyError:
            known = ", ".join(sorted(self.queries)) or "none"
            raise SourceError(
                "source_query_unknown", f"no saved query {name[:64]!r}; there are: {known}"
            ) from None

    def entity(self, name: str) -> EntityEntry:
        """Find an entity, or raise SourceError."""
        try:
            return self.entities[name]
        except KeyError:
            known = ", ".join(sorted(self.entities)) or "none"
            raise SourceError(
                "source_entity_unknown", f"no entity {name[:64]!r}; there are: {known}"
            ) from None


AnyEntry: TypeAlias = Annotated[
    SourceEntry | HttpEntry | FolderEntry | ObjectStoreEntry, Field(discriminator="kind")
]


class SourcesFile(BaseModel):
    """All sources by name."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    sources: dict[Name, AnyEntry] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file; raises SourcesFileError with every finding."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise SourcesFileError(f"{path}: {error}") from error
        except ValidationError as error:
            findings = "; ".join(
                f"{_place(finding)}: {finding['msg']}"
                for finding in error.errors(include_url=False, include_input=False)
            )
            raise SourcesFileError(f"{path}: {findings}") from error

    def opened(self, name: str, *, tenant: str) -> AnyEntry:
        """Find a source of any kind that is open to the tenant, or raise SourceError."""
        entry = self.sources.get(name)
        if entry is None:
            known = ", ".join(sorted(self.sources)) or "none"
            raise SourceError(
                "source_unknown", f"no data source {name[:64]!r} is configured; there are: {known}"
            )
        if entry.tenants is not None and tenant not in entry.tenants:
            raise SourceError(
                "source_tenant_unknown",
                f"data source {name!r} is not open to tenant {tenant!r}: "
                "add the tenant to the sources file",
            )
        return entry

    def entry(self, name: str, *, tenant: str) -> SourceEntry:
        """Find a database that the tenant may use, or raise SourceError."""
        entry = self.opened(name, tenant=tenant)
        if not isinstance(entry, SourceEntry):
            raise wrong_kind(name, entry.kind, "postgresql")
        return entry

    def url(self, name: str, *, tenant: str, environment: Mapping[str, str] = os.environ) -> str:
        """Return the address of the tenant's database; raises SourceError without a secret."""
        entry = self.entry(name, tenant=tenant)
        access = (entry.tenants or {}).get(tenant)
        reference = (access and access.reading) or entry.reading
        if reference is None:  # The entry's own check says that there is one.
            raise SourceError("source_not_configured", f"data source {name!r} has no address")
        return reference.resolve(name, environment)

    def write_url(
        self, name: str, *, tenant: str, environment: Mapping[str, str] = os.environ
    ) -> str:
        """Return the address for writing to the tenant's database; or raise SourceError."""
        entry = self.entry(name, tenant=tenant)
        access = (entry.tenants or {}).get(tenant)
        reference = access and access.writing
        if reference is None and (access is None or access.reading is None):
            reference = entry.writing
        if reference is None:
            raise SourceError(
                "source_not_writable",
                f"data source {name!r} has no address for writing for tenant {tenant!r}: set "
                "write_url_env in the sources file",
            )
        return reference.resolve(name, environment)


def wrong_kind(name: str, kind: str, wanted: str) -> SourceError:
    """Say that a source is of another kind than a request needs."""
    return SourceError(
        "source_kind_wrong", f"data source {name!r} is of kind {kind}; this needs one of {wanted}"
    )


def _reference(variable: str | None, file: Path | None) -> SecretReference | None:
    return None if variable is None and file is None else SecretReference(env=variable, file=file)


def _place(finding: ErrorDetails) -> str:
    """Write where a finding is, as the file has it: without the kind that was chosen by."""
    path = [str(part) for part in finding["loc"]]
    if len(path) > _KIND_AT and path[_KIND_AT] in KINDS:
        del path[_KIND_AT]
    if finding["type"].startswith("union_tag"):
        path.append("kind")
    return ".".join(path)
