"""Tables of a data source: saved queries to read, and entities that our own statements are for."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from lineshaft_job_runner.job_data import Entity
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.source_errors import SourceError
from lineshaft_job_runner.source_values import EXPECTED, typed

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
Table = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}(\.[A-Za-z_][A-Za-z0-9_]{0,62})?$"),
]
"""A table, or schema.table, as the database spells it."""


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
        return _chosen(self.columns, names, "the query")

    def bind(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """Return the typed arguments in order; raises SourceError that names the parameter."""
        for name in values:
            if name not in self.parameters:
                known = ", ".join(self.parameters) or "none"
                raise SourceError(
                    "source_parameter_unknown",
                    f"the query has no parameter {name[:64]!r}; it takes: {known}",
                )
        return tuple(_argument(name, kind, values) for name, kind in self.parameters.items())


class EntityEntry(_Entry):
    """A table with typed columns; statements on it are ours, never those of a request."""

    title: str = ""
    table: Table | None = None
    """The name of the entity when absent."""
    columns: Annotated[dict[Name, ColumnType], Field(min_length=1, max_length=512)]
    key: Annotated[tuple[Name, ...], Field(min_length=1, max_length=16)]
    """Columns that identify a row: those of the primary key or of a unique constraint."""
    writable: bool = False

    @model_validator(mode="after")
    def _key_is_declared(self) -> Self:
        missing = [name for name in self.key if name not in self.columns]
        if missing or len(set(self.key)) < len(self.key):
            raise ValueError(f"key: each is to be one of the columns, once; not {missing}")
        return self

    def described(self, name: str) -> Entity:
        """Return what a job may know of it."""
        return Entity(name=name, columns=self.columns, key=self.key)

    def choose(self, names: Sequence[str]) -> dict[str, ColumnType]:
        """Return the named columns in that order, all when none is named; or raise SourceError."""
        return _chosen(self.columns, names, "the entity")


def _chosen(
    columns: Mapping[str, ColumnType], names: Sequence[str], whose: str
) -> dict[str, ColumnType]:
    for name in names:
        if name not in columns:
            raise SourceError(
                "source_column_unknown",
                f"{whose} has no column {name[:64]!r}; it has: {', '.join(columns)}",
            )
    return {name: columns[name] for name in names or columns}


def _argument(name: str, kind: ColumnType, values: Mapping[str, Any]) -> Any:
    if values.get(name) is None:
        raise SourceError(
            "source_parameter_missing", f"the query needs the parameter {name!r} ({kind})"
        )
    try:
        return typed(kind, values[name])
    except ValueError:
        raise SourceError(
            "source_parameter_invalid", f"parameter {name!r} must be {EXPECTED[kind]}"
        ) from None
