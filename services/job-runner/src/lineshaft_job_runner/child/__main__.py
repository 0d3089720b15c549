"""Run jobs that the runner sends, one at a time, until it hangs up."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
from functools import partial

from lineshaft_common import logs
from lineshaft_common.objects import Objects

from lineshaft_job_runner import storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.child import frames
from lineshaft_job_runner.child.parent_death import die_with_parent
from lineshaft_job_runner.child.settings import ChildSettings
from lineshaft_job_runner.child.throttle import Throttle
from lineshaft_job_runner.context import AttemptContext
from lineshaft_job_runner.execution import job_error
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import JobStoppedError
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source


class Child:
    """One conversation with the runner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._catalogue = Catalogue.installed()
        settings = ChildSettings.model_validate({})
        self._objects = Objects(settings.object_store_url)
        file = settings.sources_file
        self._sources = SourcesFile() if file is None else SourcesFile.load(file)

    async def serve(self) -> None:
        """Run what comes until the runner closes the socket."""
        self._writer.write(frames.write("ready"))
        attempt: asyncio.Task[None] | None = None
        context: AttemptContext | None = None
        while line := await self._reader.readline():
            frame = frames.read(line)
            if frame["kind"] == "run":
                job = frames.read_run(frame)
                throttle = Throttle(lambda moved: self._writer.write(frames.progress(moved)))
                context = self._context(job, throttle)
                attempt = asyncio.create_task(self._run(job, context, throttle))
            elif context is not None:
                context.cancel()
        if attempt is not None:
            attempt.cancel()

    def _context(self, job: ClaimedJob, throttle: Throttle) -> AttemptContext:
        return AttemptContext(
            job,
            objects=self._objects,
            open_source=partial(open_source, self._sources, tenant=job.tenant),
            on_progress=throttle,
        )

    async def _run(self, job: ClaimedJob, context: AttemptContext, throttle: Throttle) -> None:
        try:
            job_type = self._catalogue.find(job.type)
            parameters = job_type.parameters.model_validate(job.parameters)
            result = (await job_type.run(context, parameters)).model_dump(mode="json")
            storable.check(result, context.stored)
            answer = frames.succeeded(result, context.stored)
        except storable.UnstorableError as error:
            answer = frames.failed(error.error, "")
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - all are outcomes.
            if isinstance(error, JobStoppedError) and context.cancelled:
                answer = frames.write("stopped")
            else:
                answer = frames.failed(job_error(error), traceback.format_exc())
        throttle.flush()
        self._writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()


async def main(descriptor: int) -> None:
    """Talk over the inherited socket."""
    connection = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=connection, limit=frames.LINE_BYTES_MAX)
    await Child(reader, writer).serve()


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The runner decides when a child ends.
    logs.configure("job-runner", instance=f"child-{os.getpid()}", level="info")
    asyncio.run(main(int(sys.argv[1])))
