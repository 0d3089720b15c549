"""The sources file: the user's own data under names that jobs may use."""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    model_validator,
)

from lineshaft_job_runner.job_type import ColumnType, PermanentError, RetryableError

INTEGER_MAX = 2**63 - 1
TEXT_MAX = 10_000

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Variable = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]{0,127}$")]


class SourceError(PermanentError):
    """The data source cannot answer this request as it was made."""


class SourceUnavailableError(RetryableError):
    """The data source does not answer now."""


class SourcesFileError(Exception):
    """The sources file cannot be used; the message says which line of it."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class SavedQuery(_Entry):
    """One SELECT statement with typed parameters and typed columns."""

    title: str = ""
    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)]
    """Parameters are written $1, $2, ... in the order of `parameters`."""
    parameters: dict[Name, ColumnType] = Field(default_factory=dict, max_length=32)
    columns: Annotated[dict[Name, ColumnType], Field(min_length=1, max_length=512)]
    """Name and type of each column, in the order of the statement."""

    def choose(self, names: Sequence[str]) -> dict[str, ColumnType]:
        """Return the named columns in that order, all when none is named; or raise SourceError."""
        for name in names:
            if name not in self.columns:
                raise SourceError(
                    "source_column_unknown",
                    f"the query has no column {name[:64]!r}; it has: {', '.join(self.columns)}",
                )
        return {name: self.columns[name] for name in names or self.columns}

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the typed arguments in order; raises SourceError that names the parameter."""
        for name in values:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise SourceError(
                    "source_parameter_unknown",
                    f"the query has no parameter {name[:64]!r}; it takes: {known}",
                )
        return tuple(_typed(name, kind, values) for name, kind in self.parameters.items())


class TenantAccess(_Entry):
    """How one tenant reaches the source."""

    url_env: Variable | None = None
    """Variable with this tenant's own database; the source's when absent."""


class SourceEntry(_Entry):
    """A named source; always read-only."""

    kind: Literal["postgresql"]
    url_env: Variable | None = None
    """Environment variable that holds the address with its role and password."""
    tenants: dict[Name, TenantAccess] | None = None
    """Who may read it, and from which database; every tenant when absent."""
    connect_timeout_seconds: Annotated[float, Field(gt=0, le=60)] = 10
    statement_timeout_seconds: Annotated[float, Field(gt=0, le=3600)] = 60
    rows_max: Annotated[int, Field(ge=1)] = 10_000_000
    """A request for more rows is refused."""
    bytes_max: Annotated[int, Field(ge=1)] = 2 * 1024**3
    """A request is refused when its values are larger than this in memory."""
    batch_rows: Annotated[int, Field(ge=1, le=100_000)] = 10_000
    queries: Annotated[dict[Name, SavedQuery], Field(min_length=1)]

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        tenants = self.tenants or {}
        if self.url_env is None and (
            not tenants or any(tenant.url_env is None for tenant in tenants.values())
        ):
            raise ValueError("url_env is needed here, or at each of the tenants")
        return self

    def query(self, name: str) -> SavedQuery:
        """Find a saved query, or raise SourceError."""
        try:
            return self.queries[name]
        except KeyError:
            raise SourceError(
                "source_query_unknown",
                f"no saved query {name[:64]!r}; there are: {', '.join(sorted(self.queries))}",
            ) from None


class SourcesFile(_Entry):
    """All sources by name."""

    sources: dict[Name, SourceEntry] = Field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read and check a file; raises SourcesFileError with every finding."""
        try:
            return cls.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
        except (OSError, UnicodeError, yaml.YAMLError) as error:
            raise SourcesFileError(f"{path}: {error}") from error
        except ValidationError as error:
            findings = "; ".join(
                f"{'.'.join(map(str, finding['loc']))}: {finding['msg']}"
                for finding in error.errors(include_url=False, include_input=False)
            )
            raise SourcesFileError(f"{path}: {findings}") from error

    def entry(self, name: str, *, tenant: str) -> SourceEntry:
        """Find a source that the tenant may read, or raise SourceError."""
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

    def url(self, name: str, *, tenant: str, environment: Mapping[str, str] = os.environ) -> str:
        """Return the address of the tenant's database; raises SourceError without a secret."""
        entry = self.entry(name, tenant=tenant)
        access = (entry.tenants or {}).get(tenant)
        variable = (access and access.url_env) or entry.url_env
        url = environment.get(variable or "")
        if not url:
            raise SourceError(
                "source_not_configured",
                f"data source {name!r} takes its address from the environment variable "
                f"{variable}, which is not set",
            )
        return url


def _typed(name: str, kind: ColumnType, values: Mapping[str, Any]) -> Any:
    if values.get(name) is None:
        raise SourceError(
            "source_parameter_missing", f"the query needs the parameter {name!r} ({kind})"
        )
    try:
        return _READERS[kind](values[name])
    except (ValueError, InvalidOperation):
        raise SourceError(
            "source_parameter_invalid", f"parameter {name!r} must be {_EXPECTED[kind]}"
        ) from None


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > TEXT_MAX or "\0" in value:
        raise ValueError
    return value


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > INTEGER_MAX:
        raise ValueError
    return value


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    number = Decimal(str(value))
    if not number.is_finite():
        raise ValueError
    return number


def _timestamp(value: Any) -> datetime:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(moment, datetime) or moment.tzinfo is None:
        raise ValueError
    return moment


def _date(value: Any) -> date:
    day = date.fromisoformat(value) if isinstance(value, str) else value
    if not isinstance(day, date) or isinstance(day, datetime):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    return day


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError  # noqa: TRY004 - one kind of error for the caller
    return value


_READERS: Mapping[ColumnType, Callable[[Any], Any]] = {
    ColumnType.TEXT: _text,
    ColumnType.INTEGER: _integer,
    ColumnType.DECIMAL: _decimal,
    ColumnType.DOUBLE: lambda value: float(_decimal(value)),
    ColumnType.TIMESTAMP: _timestamp,
    ColumnType.DATE: _date,
    ColumnType.BOOLEAN: _boolean,
}
_EXPECTED: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "a whole number",
    ColumnType.DECIMAL: "a decimal number",
    ColumnType.DOUBLE: "a number",
    ColumnType.TIMESTAMP: "ISO 8601 text with a zone, such as 2026-11-24T06:00:00Z",
    ColumnType.DATE: "an ISO 8601 date, such as 2026-11-24",
    ColumnType.BOOLEAN: "true or false",
}
