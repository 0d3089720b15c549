"""Hints from the database that something changed; losing one costs a poll, nothing else."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
from lineshaft_common.postgres import Pool
from lineshaft_common.transient import TRANSIENT_ERRORS

log = structlog.get_logger(__name__)

CHANNEL = "lineshaft_jobs"
RETRY_SECONDS = 2.0


@asynccontextmanager
async def listen(
    pool: Pool, *, on_ready: Callable[[], None], on_cancel: Callable[[], None]
) -> AsyncGenerator[None]:
    """Call `on_ready` or `on_cancel` when another process says so, while the block is open."""

    def notified(_connection: Any, _process_id: int, _channel: str, payload: object) -> None:
        (on_cancel if payload == "cancel" else on_ready)()

    async def listen_until_disconnected() -> None:
        ended = asyncio.Event()

        def on_end(_: Any) -> None:
            ended.set()

        async with pool.acquire() as connection:
            await connection.add_listener(CHANNEL, notified)
            connection.add_termination_listener(on_end)
            try:
                await ended.wait()
            finally:
                connection.remove_termination_listener(on_end)
                if not connection.is_closed():
                    await connection.remove_listener(CHANNEL, notified)

    async def keep_listening() -> None:
        while True:
            try:
                await listen_until_disconnected()
            except TRANSIENT_ERRORS as error:
                log.warning("not_listening", error=repr(error)[:200])
            await asyncio.sleep(RETRY_SECONDS)

    task = asyncio.create_task(keep_listening(), name="hints")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, *TRANSIENT_ERRORS):
            await task
