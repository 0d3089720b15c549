"""A process that runs one inventory.sync and stops at a point, to be killed there.

`python inventory_worker.py URL FOLDER POINT`: writes the point when it is reached.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

from inventory_plant import PlantContext, parameters, sources
from lineshaft_job_runner.types.inventory import applying, writing
from lineshaft_job_runner.types.inventory_sync import InventorySync

CHUNK_ROWS = 10


def stop(point: str) -> None:
    """Say that the point is reached, and be there until the end."""
    sys.stdout.write(point + "\n")
    sys.stdout.flush()
    sys.stdin.read()


def arrange(point: str) -> None:
    """Stop in an open transaction, after a committed one, or when all are committed."""
    applying.CHUNK_ROWS = CHUNK_ROWS  # type: ignore[misc]
    change, write, claims = applying._Stock.change, writing.write, 0

    async def changed(self: Any, rows: Any) -> None:
        nonlocal claims
        claims += 1
        if point == "between" and claims == 3:
            stop(point)
        await change(self, rows)
        if point == "inside" and claims == 2:
            stop(point)

    async def written(*arguments: Any) -> None:
        if point == "after":
            stop(point)
        await write(*arguments)

    applying._Stock.change = changed  # type: ignore[method-assign]
    writing.write = written  # type: ignore[assignment]


async def main(url: str, folder: Path) -> None:
    """Run the job."""
    context = PlantContext(folder / "results", sources(folder), url)
    await InventorySync().run(context, parameters(guards={"changed_ratio_max": 1}))


if __name__ == "__main__":
    arrange(sys.argv[3])
    asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
