"""The job tables on a real PostgreSQL: one database for all tests of a run, emptied for each."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, Generator
from concurrent.futures import ThreadPoolExecutor

import asyncpg
import pytest
from lineshaft_cli.local.virtual_host import with_path
from lineshaft_common import postgres
from lineshaft_common.postgres import Pool

from .driver import TABLES, Jobs

PACKAGES = ("lineshaft_common", "lineshaft_job_runner")


async def _create(admin_url: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    async with postgres.connect(with_path(admin_url, name), *PACKAGES, name="t"):
        pass


async def _drop(admin_url: str, name: str) -> None:
    connection = await asyncpg.connect(admin_url, timeout=10)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def jobs_url(postgres_admin_url: str) -> Generator[str]:
    """Provide a migrated database; in a thread, because a test's event loop may exist already."""
    name = f"test_{secrets.token_hex(6)}"
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _create(postgres_admin_url, name)).result()
        yield with_path(postgres_admin_url, name)
        thread.submit(asyncio.run, _drop(postgres_admin_url, name)).result()


@pytest.fixture
async def pool(jobs_url: str) -> AsyncGenerator[Pool]:
    async with postgres.connect(jobs_url, name="t") as pool:
        await pool.execute(f"TRUNCATE {TABLES}")
        yield pool


@pytest.fixture
def jobs(pool: Pool) -> Jobs:
    return Jobs(pool)
