"""One pool of connections per service, and the migrations of its database."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import TYPE_CHECKING, TypeAlias

import asyncpg
import structlog
from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_exponential

log = structlog.get_logger(__name__)

if TYPE_CHECKING:
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]
    Connection: TypeAlias = asyncpg.pool.PoolConnectionProxy[asyncpg.Record]
else:  # The stubs' generics do not exist at run time.
    Pool = asyncpg.Pool
    Connection = asyncpg.pool.PoolConnectionProxy

STATEMENT_TIMEOUT_SECONDS = 30
STARTUP_TIMEOUT_SECONDS = 60
STILL_STARTING = (ConnectionError, asyncpg.CannotConnectNowError)

_LEDGER = """
CREATE TABLE IF NOT EXISTS lineshaft_migrations (
    package text NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (package, name)
)
"""


class MigrationChangedError(Exception):
    """An applied migration was edited; add a new one instead."""


@asynccontextmanager
async def connect(
    url: str, *packages: str, name: str, connections_max: int = 10
) -> AsyncGenerator[Pool]:
    """Open a pool, with the `migrations/*.sql` of each package applied.

    Waits up to a minute for a server that is still starting.
    """
    async with await _open(url, name, connections_max) as pool:
        for package in packages:
            for applied in await migrate(pool, package):
                log.info("migrated", package=package, migration=applied)
        yield pool


@retry(
    retry=retry_if_exception_type(STILL_STARTING),
    wait=wait_exponential(multiplier=0.2, max=3),
    stop=stop_after_delay(STARTUP_TIMEOUT_SECONDS),
    reraise=True,
)
async def _open(url: str, name: str, connections_max: int) -> Pool:
    return await asyncpg.create_pool(
        url,
        min_size=1,
        max_size=connections_max,
        command_timeout=STATEMENT_TIMEOUT_SECONDS,
        max_inactive_connection_lifetime=60,
        reset=_leave_as_it_is,
        server_settings={
            "application_name": name,
            "idle_in_transaction_session_timeout": "60s",
            "jit": "off",
        },
    )


async def _leave_as_it_is(_: object) -> None:
    """Spare each use a round trip: who takes a lock of the session gives it back itself."""


async def check(pool: Pool) -> None:
    """Raise when the database does not answer."""
    await pool.fetchval("SELECT 1")


async def migrate(pool: Pool, package: str) -> list[str]:
    """Apply the package's migrations that are not applied yet, in order, and name them."""
    scripts = sorted(
        (f for f in files(package).joinpath("migrations").iterdir() if f.name.endswith(".sql")),
        key=lambda script: script.name,
    )
    async with pool.acquire() as connection:
        # Replicas start together: the first one migrates, the others wait and find nothing to do.
        await connection.execute("SELECT pg_advisory_lock(hashtext('lineshaft_migrations'))")
        try:
            await connection.execute(_LEDGER)
            return [s.name for s in scripts if await _apply(connection, package, s)]
        finally:
            await connection.execute("SELECT pg_advisory_unlock(hashtext('lineshaft_migrations'))")


async def _apply(connection: Connection, package: str, script: Traversable) -> bool:
    sql = script.read_text()
    digest = sha256(sql.encode()).hexdigest()
    applied = await connection.fetchval(
        "SELECT sha256 FROM lineshaft_migrations WHERE package = $1 AND name = $2",
        package,
        script.name,
    )
    if applied == digest:
        return False
    if applied is not None:
        raise MigrationChangedError(f"{package}/{script.name}")
    async with connection.transaction():
        await connection.execute(sql)
        await connection.execute(
            "INSERT INTO lineshaft_migrations (package, name, sha256) VALUES ($1, $2, $3)",
            package,
            script.name,
            digest,
        )
    return True
