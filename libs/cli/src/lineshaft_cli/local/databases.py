"""One database and one role per service, made where they are missing."""

from collections.abc import Mapping, Sequence
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg

from lineshaft_cli.local.errors import LocalError

NAMES: Sequence[str] = ("gateway", "job_runner", "event_router", "monitor", "plant")
CREATES_DATABASES = frozenset({"plant"})
"""Its backups are proven by restoring them into databases that exist for a moment."""
CONNECT_SECONDS = 10


def url_of(admin_url: str, *, name: str, password: str) -> str:
    """Return the URL of one service's database on the server of the administrator's URL."""
    parts = urlsplit(admin_url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(
        parts._replace(netloc=f"{name}:{quote(password, safe='')}@{host}", path=f"/{name}")
    )


async def provision(admin_url: str, passwords: Mapping[str, str], *, ours: bool) -> None:
    """Make the role and the database of each name in `passwords` when it is missing.

    On a server of our own the role also gets its password again, so that a lost or changed one
    heals; on somebody else's a role with another password is an error that says so. Nothing is
    ever dropped.
    """
    try:
        admin = await asyncpg.connect(admin_url, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        message = f"PostgreSQL does not let us in: {error}. Check LINESHAFT_POSTGRES_URL."
        raise LocalError(message) from error
    try:
        for name, password in passwords.items():
            await _role(admin, name, password, ours=ours)
            await _database(admin, name)
            if name in CREATES_DATABASES:
                await admin.execute(
                    await admin.fetchval("SELECT format('ALTER ROLE %I CREATEDB', $1::text)", name)
                )
    except asyncpg.InsufficientPrivilegeError as error:
        message = f"{error}: the user of LINESHAFT_POSTGRES_URL needs CREATEROLE and CREATEDB"
        raise LocalError(message) from error
    finally:
        await admin.close()
    if not ours:
        for name, password in passwords.items():
            await _check_login(url_of(admin_url, name=name, password=password), name)


async def _role(
    admin: "asyncpg.Connection[asyncpg.Record]", name: str, password: str, *, ours: bool
) -> None:
    exists = await admin.fetchval("SELECT 1 FROM pg_roles WHERE rolname = $1", name)
    if exists and not ours:
        return
    verb = "ALTER" if exists else "CREATE"
    template = f"{verb} ROLE %I LOGIN PASSWORD %L"
    await admin.execute(
        await admin.fetchval("SELECT format($1, $2::text, $3::text)", template, name, password)
    )


async def _database(admin: "asyncpg.Connection[asyncpg.Record]", name: str) -> None:
    if await admin.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", name):
        return
    # A role may only give a database to a role that it is a member of.
    for template in (
        "GRANT %1$I TO CURRENT_USER",
        "CREATE DATABASE %1$I OWNER %1$I",
        "REVOKE CONNECT ON DATABASE %1$I FROM PUBLIC",
    ):
        await admin.execute(await admin.fetchval("SELECT format($1, $2::text)", template, name))


async def _check_login(url: str, name: str) -> None:
    try:
        connection = await asyncpg.connect(url, timeout=CONNECT_SECONDS)
    except (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError) as error:
        message = (
            f"the role {name} exists on this PostgreSQL with another password. Restore "
            f"installation.json, or give it the password written there (ALTER ROLE)."
        )
        raise LocalError(message) from error
    await connection.close()
