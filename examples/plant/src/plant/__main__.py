"""`python -m plant`: the application's one process."""

import asyncio
import logging
import signal
from datetime import UTC, datetime
from functools import partial

from aiohttp import web

from plant.calendar import past_shifts
from plant.routes import create_app
from plant.settings import Settings
from plant.shift import run_shift
from plant.store import connect


async def main() -> None:
    """Serve until asked to stop."""
    settings = Settings.read()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with connect(settings.postgres_url) as store:
        await store.seed(past_shifts(datetime.now(UTC)))
        app = create_app(ready=store.ready, run_shift=partial(run_shift, settings, store))
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            await web.TCPSite(runner, settings.http_host, settings.http_port).start()
            await stop.wait()
        finally:
            await runner.cleanup()


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    asyncio.run(main())
