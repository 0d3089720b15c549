"""Set-based statements that bring staged rows into a table of the user.

Names come from the operator's sources file and are quoted; values come by COPY. Each statement
answers with one `Change` letter for each staged row, in order, joined to one text.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from lineshaft_job_runner.job_data import Operation
from lineshaft_job_runner.job_type import ColumnType
from lineshaft_job_runner.sources import EntityEntry
from lineshaft_job_runner.store.selecting import SQL_TYPES, quoted, relation

WITHIN = "s._item BETWEEN $1 AND $2"


@dataclass(frozen=True, kw_only=True)
class TableColumn:
    """A column as the database has it."""

    stored_as: str
    """What a staged value is cast to, to be compared as the column would hold it: rounded like
    numeric(12,3), but never cut off like varchar(20)."""
    found_as: str
    """What a staged key is cast to, to find its row: not rounded, or it would find another."""
    is_cast: bool
    """Whether text has to be cast to its type, such as uuid or an enum."""
    is_comparable: bool
    """Whether it has an operator for equality; json has none."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table as the database has it."""

    columns: Mapping[str, TableColumn]
    """Those that the entity declares."""
    names: frozenset[str]
    """All that can be written."""
    is_plain: bool
    """Whether it is no view and has no partitions: its rows tell who wrote them."""


@dataclass(frozen=True, kw_only=True)
class Statements:
    """The statements for one entity and some of its columns."""

    name: str
    entity: EntityEntry
    columns: Mapping[str, ColumnType]
    """Those that are staged: every column of the key, and others."""
    table: Table
    staging: str
    """Quoted name of the temporary table."""

    @property
    def create(self) -> str:
        """The temporary table; its rows end with the transaction."""
        declared = ", ".join(
            f"{quoted(name)} {SQL_TYPES[kind]}" for name, kind in self.columns.items()
        )
        return (
            f"CREATE TEMP TABLE IF NOT EXISTS {self.staging} (_item integer NOT NULL, {declared}) "
            "ON COMMIT DELETE ROWS"
        )

    @property
    def index(self) -> str:
        """An index by which small parts of the staged rows are found."""
        name = quoted(self.staging.partition(".")[2].strip('"') + "_item")
        return f"CREATE INDEX IF NOT EXISTS {name} ON {self.staging} (_item)"

    def apply(self, operation: Operation, add: Sequence[str]) -> str:
        """Return the statement; $1 and $2 are the first and the last row that it is for."""
        match operation:
            case Operation.INSERT:
                return self._insert()
            case Operation.UPDATE:
                return self._update(add)
            case Operation.UPSERT:
                return self._upsert(add)
            case Operation.DELETE:
                return self._delete()

    def current(self, columns: Sequence[str]) -> str:
        """Return the statement that locks rows and reads them."""
        shown = ", ".join(
            f"t.{quoted(name)}{'::text' if self.entity.columns[name] is ColumnType.TEXT else ''}"
            for name in columns
        )
        return (
            f"SELECT s._item, {shown} FROM {self.staging} AS s JOIN {self._target} AS t "  # noqa: S608
            f"ON {self._matches} ORDER BY {self._keys('t')} FOR UPDATE OF t"
        )

    def repeated_keys(self) -> str:
        """Return the question whether two rows have the same key for the database."""
        keys = ", ".join(self._found(name) for name in self.entity.key)
        return (
            f"SELECT EXISTS (SELECT FROM {self.staging} AS s GROUP BY {keys} "  # noqa: S608
            "HAVING count(*) > 1)"
        )

    def _insert(self) -> str:
        return (
            f"WITH done AS ({self._inserting()} ON CONFLICT ({self._names(self.entity.key)}) "
            f"DO NOTHING RETURNING {self._keys('t')}) "
            + self._answer(f"CASE WHEN {self._holds(self._same())} THEN 'n' ELSE 'x' END", "'i'")
        )

    def _update(self, add: Sequence[str]) -> str:
        return f"WITH done AS ({self._updating(add, self._matches)}) " + self._answer(
            f"CASE WHEN {self._present()} THEN 'n' ELSE 'x' END", "'u'", by_item=True
        )

    def _upsert(self, add: Sequence[str]) -> str:
        # Rows that are there are updated first: an INSERT that conflicts would have to satisfy the
        # constraints by itself, which a change of stock of -2, or some of the columns, does not.
        keys = self._names(self.entity.key)
        if not self._values:
            return (
                f"WITH done AS ({self._inserting()} ON CONFLICT ({keys}) DO NOTHING "
                f"RETURNING {self._keys('t')}) " + self._answer("'n'", "'i'")
            )
        if self.table.is_plain and not add and self.table.names <= set(self.columns):
            return self._upsert_whole(keys)
        moved = self._updating(add, self._holding)
        added = (
            f"{self._inserting(absent=True)} ON CONFLICT ({keys}) "
            f"DO UPDATE SET {self._settings(add, staged=False)} RETURNING {self._keys('t')}"
        )
        unmoved = "CASE WHEN moved._item IS NOT NULL THEN 'u' ELSE 'n' END"
        return f"WITH moved AS ({moved}), done AS ({added}) " + self._answer(
            unmoved, "'i'", more="LEFT JOIN moved ON moved._item = s._item"
        )

    def _upsert_whole(self, keys: str) -> str:
        """Return the faster way for rows with all columns, which have to fit anyway."""
        moved = " OR ".join(self._changes((), staged=False))
        # A row version that was not locked before it was written was not there before.
        return (
            f"WITH done AS ({self._inserting()} ON CONFLICT ({keys}) DO UPDATE SET "
            f"{self._settings((), staged=False)} WHERE {moved} "
            f"RETURNING {self._keys('t')}, t.xmax = 0 AS is_new) "
            + self._answer("'n'", "CASE WHEN done.is_new THEN 'i' ELSE 'u' END")
        )

    def _delete(self) -> str:
        return (
            f"WITH done AS (DELETE FROM {self._target} AS t USING {self.staging} AS s "  # noqa: S608
            f"WHERE {self._matches} AND {WITHIN} RETURNING s._item) "
            + self._answer("'n'", "'d'", by_item=True)
        )

    def _answer(self, other: str, done: str, *, by_item: bool = False, more: str = "") -> str:
        """Say for each staged row in order whether it is among those that were done."""
        keys = [f"done.{quoted(name)} = {self._stored(name)}" for name in self.entity.key]
        joined = "done._item = s._item" if by_item else " AND ".join(keys)
        found = "done._item" if by_item else f"done.{quoted(self.entity.key[0])}"
        return (
            f"SELECT string_agg(CASE WHEN {found} IS NOT NULL THEN {done} ELSE {other} END, "  # noqa: S608
            f"'' ORDER BY s._item) FROM {self.staging} AS s LEFT JOIN done ON {joined} {more} "
            f"WHERE {WITHIN}"
        )

    @property
    def _target(self) -> str:
        return relation(self.name, self.entity)

    @property
    def _values(self) -> list[str]:
        return [name for name in self.columns if name not in self.entity.key]

    def _inserting(self, *, absent: bool = False) -> str:
        # In the order of the key, so that two that write the same rows wait but do not deadlock.
        given = ", ".join(self._assigned(name) for name in self.columns)
        condition = f"{WITHIN} AND NOT {self._holds()}" if absent else WITHIN
        order = ", ".join(
            f's.{quoted(name)} COLLATE "C"' if kind is ColumnType.TEXT else f"s.{quoted(name)}"
            for name, kind in self.columns.items()
            if name in self.entity.key
        )
        return (
            f"INSERT INTO {self._target} AS t ({self._names(self.columns)}) SELECT {given} "  # noqa: S608
            f"FROM {self.staging} AS s WHERE {condition} ORDER BY {order}"
        )

    def _updating(self, add: Sequence[str], condition: str) -> str:
        moved = " OR ".join(self._changes(add))
        return (
            f"UPDATE {self._target} AS t SET {self._settings(add, staged=True)} "  # noqa: S608
            f"FROM {self.staging} AS s WHERE {condition} AND {WITHIN} AND ({moved}) "
            "RETURNING s._item"
        )

    @property
    def _matches(self) -> str:
        return " AND ".join(f"t.{quoted(name)} = {self._found(name)}" for name in self.entity.key)

    def _present(self) -> str:
        return f"EXISTS (SELECT FROM {self._target} AS t WHERE {self._matches})"

    @property
    def _holding(self) -> str:
        """Compare keys as the table would hold them."""
        return " AND ".join(f"t.{quoted(name)} = {self._stored(name)}" for name in self.entity.key)

    def _holds(self, more: Sequence[str] = ()) -> str:
        condition = " AND ".join([self._holding, *more])
        return f"EXISTS (SELECT FROM {self._target} AS t WHERE {condition})"

    def _same(self) -> list[str]:
        return [
            f"{self._shown('t', name)} IS NOT DISTINCT FROM {self._staged(name)}"
            for name in self._values
        ]

    def _changes(self, add: Sequence[str], *, staged: bool = True) -> list[str]:
        """Conditions of which one holds when a row is not yet as it is to be."""
        found: list[str] = []
        for name in self._values:
            new = self._staged(name) if staged else self._shown("EXCLUDED", name)
            old = self._shown("t", name)
            found.append(f"{new} <> 0" if name in add else f"{old} IS DISTINCT FROM {new}")
        return found

    def _settings(self, add: Sequence[str], *, staged: bool) -> str:
        settings: list[str] = []
        for name in self._values:
            new = self._assigned(name) if staged else f"EXCLUDED.{quoted(name)}"
            if name in add:
                new = f"COALESCE(t.{quoted(name)}, 0) + {new}"
            settings.append(f"{quoted(name)} = {new}")
        return ", ".join(settings)

    def _assigned(self, name: str) -> str:
        """Return what a column is set to: a text that is too long is refused, not cut off."""
        column = self.table.columns[name]
        return f"s.{quoted(name)}" + (f"::{column.stored_as}" if column.is_cast else "")

    def _stored(self, name: str) -> str:
        return f"s.{quoted(name)}::{self.table.columns[name].stored_as}"

    def _found(self, name: str) -> str:
        return f"s.{quoted(name)}::{self.table.columns[name].found_as}"

    def _staged(self, name: str) -> str:
        return self._stored(name) + ("" if self.table.columns[name].is_comparable else "::text")

    def _shown(self, relation_name: str, name: str) -> str:
        plain = "" if self.table.columns[name].is_comparable else "::text"
        return f"{relation_name}.{quoted(name)}{plain}"

    def _names(self, names: Sequence[str] | Mapping[str, ColumnType]) -> str:
        return ", ".join(quoted(name) for name in names)

    def _keys(self, alias: str) -> str:
        return ", ".join(f"{alias}.{quoted(name)}" for name in self.entity.key)
