"""Fills a spool from a source; parses one block while the next one is on its way."""

import asyncio
from pathlib import Path

from lineshaft_contracts.job_types import ExportParameters

from lineshaft_job_runner.job_type import JobContext, Source
from lineshaft_job_runner.types.cancellation import stop_if_cancelled
from lineshaft_job_runner.types.exporting.spool import Spool
from lineshaft_job_runner.types.input_digest import InputDigest


class Copying:
    """The way of the rows of one export from the source to a folder."""

    def __init__(self, context: JobContext, folder: Path, expected: int) -> None:
        self._context = context
        self._folder = folder
        self._expected = expected
        self._parsing: asyncio.Task[None] | None = None

    async def fill(
        self, source: Source, parameters: ExportParameters, digest: InputDigest
    ) -> Spool:
        """Copy every row of the query into a new spool."""
        names = [column.name for column in parameters.columns]
        async with source.copy(
            parameters.query, parameters.query_parameters, columns=names
        ) as answer:
            spool = Spool(
                self._folder, answer.columns, non_finite=parameters.non_finite, digest=digest
            )

            async def write(content: bytes) -> None:
                stop_if_cancelled(self._context)
                await self._settle(spool)
                self._parsing = asyncio.create_task(asyncio.to_thread(spool.add, content))

            try:
                await answer.send_to(write)
                await self._settle(spool)
            finally:
                if self._parsing is not None:
                    # A thread cannot be stopped, and must not outlive the folder it writes to.
                    await asyncio.wait([self._parsing])
        return spool

    async def _settle(self, spool: Spool) -> None:
        """Wait until the block before is in the spool."""
        if self._parsing is not None:
            await self._parsing
            self._parsing = None
        done = min(spool.rows, self._expected)
        self._context.progress(done, 2 * self._expected, "reading rows")
