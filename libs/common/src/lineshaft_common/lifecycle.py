"""The life of a process: one event loop, and an orderly end when it is asked for."""

import asyncio
import contextlib
import gc
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop


async def until_terminated() -> None:
    """Return when the operating system asks the process to stop."""
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, terminated.set)
    await terminated.wait()


@asynccontextmanager
async def background(work: Coroutine[Any, Any, None], *, name: str) -> AsyncGenerator[None]:
    """Let work go on beside the block, and cancel it when the block is left."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a service's main until it returns."""

    async def run_main() -> None:
        # What start-up allocated lives as long as the process: keep the collector off it.
        gc.freeze()
        await main()

    uvloop.run(run_main())
