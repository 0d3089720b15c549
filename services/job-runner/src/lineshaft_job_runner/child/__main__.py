"""Run jobs that the runner sends, one at a time, until it hangs up."""

import asyncio
import contextlib
import io
import os
import signal
import socket
import sys
import traceback

from lineshaft_common import logs
from lineshaft_common.objects import Objects

from lineshaft_job_runner import storable
from lineshaft_job_runner.catalogue import Catalogue
from lineshaft_job_runner.child import frames, memory
from lineshaft_job_runner.child.asking import AskedEngine
from lineshaft_job_runner.child.parent_death import adopt_orphans, die_with_parent
from lineshaft_job_runner.child.settings import ChildSettings
from lineshaft_job_runner.child.telling import Telling
from lineshaft_job_runner.context import AttemptContext
from lineshaft_job_runner.execution import job_error, memory_limit_error
from lineshaft_job_runner.job import ClaimedJob
from lineshaft_job_runner.job_type import JobStoppedError, SnoozeError, WaitForChildrenError
from lineshaft_job_runner.source_access import DataAccess
from lineshaft_job_runner.sources import SourcesFile
from lineshaft_job_runner.store.plant_sources import open_source
from lineshaft_job_runner.store.plant_targets import open_target


class Child:
    """One conversation with the runner."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._catalogue = Catalogue.installed()
        settings = ChildSettings.model_validate({})
        self._objects = Objects(settings.object_store_url)
        file = settings.sources_file
        sources = SourcesFile() if file is None else SourcesFile.load(file)
        self._data = DataAccess(sources, open_source=open_source, open_target=open_target)
        self._engine = AskedEngine(writer.write)

    async def serve(self) -> None:
        """Run what comes until the runner closes the socket."""
        self._writer.write(frames.write("ready"))
        attempt: asyncio.Task[None] | None = None
        context: AttemptContext | None = None
        while line := await self._reader.readline():
            frame = frames.read(line)
            if frame["kind"] == "run":
                job = frames.read_run(frame)
                telling = Telling(self._writer.write)
                context = self._context(job, telling)
                attempt = asyncio.create_task(self._run(job, context, telling))
            elif frame["kind"] == "answer":
                self._engine.on_answer(frame)
            elif context is not None:
                context.cancel()
        if attempt is not None:
            attempt.cancel()

    def _context(self, job: ClaimedJob, telling: Telling) -> AttemptContext:
        return AttemptContext(
            job,
            objects=self._objects,
            data=self._data,
            types=self._catalogue,
            listener=telling,
            engine=self._engine,
        )

    async def _run(self, job: ClaimedJob, context: AttemptContext, telling: Telling) -> None:
        try:
            answer = await self._work(job, context)
        except storable.UnstorableError as error:
            answer = frames.failed(error.error, "")
        except SnoozeError as snooze:
            answer = frames.snoozed(snooze)
        except WaitForChildrenError:
            answer = frames.write("waits")
        except BaseException as error:  # noqa: BLE001 - all are outcomes, SystemExit too.
            if isinstance(error, JobStoppedError) and context.cancelled:
                answer = frames.write("stopped")
            else:
                answer = frames.failed(job_error(error), traceback.format_exc())
        telling.flush()
        sys.stdout.flush()
        self._writer.write(answer)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def _work(self, job: ClaimedJob, context: AttemptContext) -> bytes:
        job_type = self._catalogue.find(job.type)
        memory.limit(job_type.memory_bytes_max)
        try:
            parameters = job_type.parameters.model_validate(job.parameters)
            result = (await job_type.run(context, parameters)).model_dump(mode="json")
        except MemoryError:
            if job_type.memory_bytes_max is None:
                raise
            error = memory_limit_error(job_type.memory_bytes_max)
            return frames.failed(error, traceback.format_exc())
        storable.check(result, context.stored)
        return frames.succeeded(result, context.stored)


async def main(descriptor: int) -> None:
    """Talk over the inherited socket."""
    connection = socket.socket(fileno=descriptor)
    reader, writer = await asyncio.open_connection(sock=connection, limit=frames.LINE_BYTES_MAX)
    await Child(reader, writer).serve()


def configure_log(descriptor: int) -> None:
    """Write events where the runner writes its own; the rest of the output is the job's."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(line_buffering=True)
    lines = os.fdopen(descriptor, "w", buffering=1)
    os.set_inheritable(descriptor, False)  # noqa: FBT003 - its only argument.
    with contextlib.redirect_stdout(lines):
        logs.configure("job-runner", instance=f"child-{os.getpid()}", level="info")


if __name__ == "__main__":
    die_with_parent(int(sys.argv[2]))
    adopt_orphans()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The runner decides when a child ends.
    configure_log(int(sys.argv[3]))
    os.set_inheritable(int(sys.argv[1]), False)  # noqa: FBT003 - its only argument.
    asyncio.run(main(int(sys.argv[1])))
