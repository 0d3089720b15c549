"""A database that is not easy to back up, and what a test says about a backup set."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from lineshaft_cli.local.virtual_host import with_path
from lineshaft_contracts.envelope import uuid7
from lineshaft_job_runner.testing import FolderContext

TABLES = r"""
CREATE SCHEMA "Shop floor";
CREATE TYPE mood AS ENUM ('ok', 'held');
CREATE TABLE orders (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "lineshaft row" text, price numeric(12, 4), made double precision, state mood,
    due timestamptz, extra jsonb, raw bytea,
    doubled numeric GENERATED ALWAYS AS (price * 2) STORED
);
INSERT INTO orders ("lineshaft row", price, made, state, due, extra, raw)
SELECT 'order ' || n || E'\tä\n', n / 7.0, sqrt(n), 'held', timestamptz '2026-10-25 00:30+02'
       + n * interval '17 minutes', jsonb_build_object('n', n), decode(md5(n::text), 'hex')
FROM generate_series(1, 5000) AS n;
CREATE TABLE "Shop floor"."Odd "" name" (lot text, order_id integer REFERENCES orders);
INSERT INTO "Shop floor"."Odd "" name" VALUES (NULL, 1), ('', 2), ('\N', 3);
CREATE TABLE measured (at timestamptz NOT NULL, value real) PARTITION BY RANGE (at);
CREATE TABLE measured_october PARTITION OF measured
    FOR VALUES FROM ('2026-10-01') TO ('2026-11-01');
CREATE TABLE measured_rest PARTITION OF measured DEFAULT;
INSERT INTO measured SELECT timestamptz '2026-10-30' + n * interval '1 hour', n / 3.0
FROM generate_series(1, 500) AS n;
CREATE TABLE nothing ();
CREATE UNLOGGED TABLE passing AS SELECT 1 AS one;
CREATE INDEX orders_due ON orders (due);
CREATE VIEW held AS SELECT id FROM orders WHERE state = 'held';
CREATE MATERIALIZED VIEW counted AS SELECT count(*) FROM orders;
CREATE FUNCTION half(x numeric) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT x / 2';
SELECT lo_from_bytea(0, '\x00ff');
"""


async def execute(url: str, *statements: str) -> None:
    """Run statements."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def fetch(url: str, query: str) -> Any:
    """Ask for one value."""
    connection = await asyncpg.connect(url, timeout=10)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def databases(url: str) -> set[str]:
    """List what is on the server."""
    query = "SELECT array_agg(datname::text) FROM pg_database"
    return set(await fetch(url, query))


def sibling(url: str, name: str) -> str:
    """Return the address of another database of the server."""
    return with_path(url, name)


def attempt(folder: Path, **more: Any) -> FolderContext:
    """Be the attempt of a job of its own."""
    folder.mkdir(exist_ok=True)
    context = FolderContext(folder, **more)
    context.job_id = str(uuid7())
    return context


class Plant:
    """The backups file of a test, and the store behind it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.store = folder / "store"
        self.results = folder / "results"
        self.results.mkdir()
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("LINESHAFT_BACKUPS_FILE", str(folder / "backups.yaml"))
        monkeypatch.setenv("LINESHAFT_BACKUP_WORK_FOLDER", str(folder / "work"))

    def configure(self, **changes: Any) -> None:
        """Write the file with one set, `plant`; JSON is YAML."""
        entry = {"tenants": ["acme"], "store_url": self.store.as_uri(), **changes}
        text = json.dumps({"backups": {"plant": entry}}, default=str)
        (self.folder / "backups.yaml").write_text(text)

    def postgresql(self, url: str, **changes: Any) -> None:
        """Back a database up."""
        self._monkeypatch.setenv("TEST_PLANT_URL", url)
        self.configure(kind="postgresql", url_env="TEST_PLANT_URL", **changes)

    def stored(self, pattern: str = "*") -> list[Path]:
        """List the files in the store."""
        return sorted(path for path in self.store.rglob(pattern) if path.is_file())

    def manifests(self) -> list[Mapping[str, Any]]:
        """Read the manifests."""
        return [json.loads(path.read_text()) for path in self.stored("manifest.json")]
