"""The life of a process: one event loop, and an orderly end when it is asked for."""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable

import uvloop


async def until_terminated() -> None:
    """Return when the operating system asks the process to stop."""
    terminated = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, terminated.set)
    await terminated.wait()


def run(main: Callable[[], Awaitable[None]]) -> None:
    """Run a service's main until it returns."""

    async def run_main() -> None:
        # What start-up allocated lives as long as the process: keep the collector off it.
        gc.freeze()
        await main()

    uvloop.run(run_main())
