"""A plant with stock in a real database, and a source beside it, for tests of inventory.sync."""

import csv
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
from lineshaft_contracts.inventory_sync import InventorySyncParameters, InventorySyncResult
from lineshaft_job_runner.job_data import Endpoint, Folder, Source, Target
from lineshaft_job_runner.source_access import DataAccess
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target
from lineshaft_job_runner.testing import FolderContext
from lineshaft_job_runner.types.inventory_sync import InventorySync

SCHEMA = """
CREATE TABLE stock (
    material text NOT NULL,
    location text NOT NULL,
    on_hand numeric NOT NULL,
    reserved numeric NOT NULL DEFAULT 0,
    uom text NOT NULL DEFAULT 'pcs',
    changed_at timestamptz,
    PRIMARY KEY (material, location)
);
CREATE TABLE bookings (
    material text NOT NULL,
    location text NOT NULL,
    quantity numeric NOT NULL,
    booked_at timestamptz NOT NULL
);
CREATE TABLE erp_stock (
    material text NOT NULL,
    location text NOT NULL,
    on_hand numeric NOT NULL,
    changed_at timestamptz NOT NULL
);
"""
STOCK_COLUMNS = {
    "material": "text", "location": "text", "on_hand": "decimal", "reserved": "decimal",
    "uom": "text", "changed_at": "timestamp",
}  # fmt: skip
MOVEMENTS = {
    "sql": "SELECT material, location, quantity, booked_at FROM bookings WHERE booked_at > $1",
    "parameters": {"since": "timestamp"},
    "columns": {
        "material": "text",
        "location": "text",
        "quantity": "decimal",
        "booked_at": "timestamp",
    },
}
ERP = {
    "sql": (
        "SELECT material, location, on_hand, changed_at FROM erp_stock WHERE changed_at >= $1 "
        "ORDER BY changed_at"
    ),
    "parameters": {"since": "timestamp"},
    "columns": {
        "material": "text",
        "location": "text",
        "on_hand": "decimal",
        "changed_at": "timestamp",
    },
}
TARGET: dict[str, Any] = {
    "source": "mes",
    "entity": "stock",
    "columns": {"item": "material"},
}
Stock = dict[tuple[str, str], Decimal]


def sources(folder: Path, **more: Any) -> SourcesFile:
    """The plant's database, and a folder with files of the other system."""
    mes = {
        "kind": "postgresql",
        "url_env": "URL",
        "write_url_env": "URL",
        "queries": {"movements": MOVEMENTS, "erp": ERP},
        "entities": {
            "stock": {
                "columns": STOCK_COLUMNS,
                "key": ["material", "location"],
                "writable": True,
            }
        },
    }
    drop = {"kind": "folder", "path": str(folder)}
    return SourcesFile.model_validate({"sources": {"mes": mes, "drop": drop, **more}})


class PlantContext(FolderContext):
    """A context whose sources are those of a sources file."""

    def __init__(self, folder: Path, file: SourcesFile, url: str, **given: Any) -> None:
        super().__init__(folder, **given)
        environment = {"URL": url, "PLANT_POSTGRES_URL": url}

        def opened(file: SourcesFile, name: str, *, tenant: str) -> Any:
            return open_source(file, name, tenant=tenant, environment=environment)

        def writable(file: SourcesFile, name: str, *, tenant: str) -> Any:
            return open_target(file, name, tenant=tenant, environment=environment)

        self.access = DataAccess(
            file, open_source=opened, open_target=writable, environment=environment
        )

    @asynccontextmanager
    async def source(self, name: str) -> AsyncGenerator[Source]:
        async with self.access.source(name, tenant=self.tenant) as source:
            yield source

    @asynccontextmanager
    async def target(self, name: str) -> AsyncGenerator[Target]:
        async with self.access.target(name, tenant=self.tenant) as target:
            yield target

    def endpoint(self, name: str) -> Endpoint:
        return self.access.endpoint(name, tenant=self.tenant)

    def folder(self, name: str) -> Folder:  # type: ignore[override] - a path in the other one.
        return self.access.folder(name, tenant=self.tenant)


class Plant:
    """The stock of a plant, and what the other system says about it."""

    def __init__(
        self, connection: "asyncpg.Connection[asyncpg.Record]", url: str, folder: Path
    ) -> None:
        self.connection = connection
        self.url = url
        self.folder = folder
        self.results = folder / "results"
        self.results.mkdir()
        self.file = sources(folder)
        self.runs = 0

    async def holds(self, stock: Mapping[str, Any], **columns: Any) -> None:
        """Set the stock of items at location A."""
        for item, quantity in stock.items():
            values = {"material": item, "location": "A", "on_hand": Decimal(str(quantity))}
            values |= columns
            names = ", ".join(values)
            places = ", ".join(f"${number}" for number in range(1, len(values) + 1))
            settings = ", ".join(f"{name} = EXCLUDED.{name}" for name in values)
            await self.connection.execute(
                f"INSERT INTO stock ({names}) VALUES ({places}) "  # noqa: S608
                f"ON CONFLICT (material, location) DO UPDATE SET {settings}",
                *values.values(),
            )

    async def book(self, item: str, quantity: int, booked_at: Any = None) -> None:
        """Book a movement as the application does."""
        await self.connection.execute(
            "UPDATE stock SET on_hand = on_hand + $2 WHERE material = $1",
            item,
            Decimal(quantity),
        )
        if booked_at is not None:
            await self.connection.execute(
                "INSERT INTO bookings VALUES ($1, 'A', $2, $3)", item, Decimal(quantity), booked_at
            )

    def says(self, text: str, name: str = "stock.csv") -> None:
        """Write the file of the other system."""
        (self.folder / name).write_text(text, encoding="utf-8")

    def states(self, stock: Mapping[str, Any]) -> None:
        """Write the file of the other system: items at location A."""
        lines = [f"{item},A,{quantity}" for item, quantity in stock.items()]
        self.says("\n".join(["item,location,quantity", *lines, ""]))

    def context(self, **given: Any) -> PlantContext:
        """Make the context of another job."""
        self.runs += 1
        context = PlantContext(self.results, self.file, self.url, **given)
        context.job_id = f"00000000-0000-7000-8000-{self.runs:012}"
        return context

    async def sync(
        self, context: PlantContext | None = None, **changed: Any
    ) -> InventorySyncResult:
        """Run the job."""
        return await InventorySync().run(
            self.context() if context is None else context, parameters(**changed)
        )

    async def stock(self) -> dict[str, Decimal]:
        """Read what is on hand at location A."""
        rows = await self.connection.fetch(
            "SELECT material, on_hand FROM stock WHERE location = 'A' ORDER BY material"
        )
        return {row["material"]: row["on_hand"] for row in rows}

    def differences(self) -> list[dict[str, str]]:
        """Read the file of differences."""
        return self.table("inventory-differences.csv")

    def table(self, name: str) -> list[dict[str, str]]:
        """Read a file of the last run."""
        with (self.results / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def parameters(**changed: Any) -> InventorySyncParameters:
    """A file in the folder, with stock in the target's own unit."""
    source = {"kind": "file", "source": "drop", "path": "stock.csv", "columns": {"uom": None}}
    given = {"sync": "erp", "source": source, "target": TARGET, **changed}
    return InventorySyncParameters.model_validate(given)


@asynccontextmanager
async def plant(url: str, folder: Path) -> AsyncGenerator[Plant]:
    """Make the tables in an empty database."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(SCHEMA)
        yield Plant(connection, url, folder)
    finally:
        await connection.close()
