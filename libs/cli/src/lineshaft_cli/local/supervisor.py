"""The detached process that starts the local system, keeps it running, and stops it."""

import asyncio
import os
import signal
from collections.abc import Sequence

from lineshaft_cli.local import databases, leftovers, plan
from lineshaft_cli.local.child import Child
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.plan import Plan, Request
from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.state import Phase, ProcessState, State, StateFile

LOG_CHECK_SECONDS = 5.0
SERVERS_SECONDS = 120.0


class Supervisor:
    """Runs the servers, then the services; writes the state at each change."""

    def __init__(self, plan: Plan, file: StateFile, state: State) -> None:
        self._plan = plan
        self._file = file
        self._state = state
        self._stop = asyncio.Event()
        # The broker needs its port mapper before it starts, the services need both servers.
        self._servers = [Child(spec, self._report) for spec in plan.servers]
        self._services = [Child(spec, self._report) for spec in plan.services]
        self._runs: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Run everything until a signal to stop; then stop it in the reverse order."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._stop.set)
        shortening = asyncio.create_task(self._shorten_logs())
        start = asyncio.create_task(self._start())
        stop = asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait({start, stop}, return_when=asyncio.FIRST_COMPLETED)
            if start.done():
                start.result()  # Raises what kept it from starting.
                self._set(phase=Phase.READY)
                await stop
        finally:
            shortening.cancel()
            start.cancel()
            await self._stop_all()

    async def _start(self) -> None:
        self._launch(self._servers)
        async with asyncio.timeout(SERVERS_SECONDS):
            await self._until_ready(self._servers)
            if self._plan.endpoints.postgres is not None:
                await databases.provision(
                    self._plan.endpoints.postgres,
                    self._plan.database_passwords,
                    ours=self._plan.postgres_is_ours,
                )
        self._launch(self._services)
        await self._until_ready(self._services)

    def _launch(self, children: Sequence[Child]) -> None:
        self._runs += [asyncio.create_task(child.run()) for child in children]

    @staticmethod
    async def _until_ready(children: Sequence[Child]) -> None:
        await asyncio.gather(*(child.is_ready.wait() for child in children))

    async def _stop_all(self) -> None:
        """Stop the services at once, then the servers from the last to the first."""
        self._set(phase=Phase.STOPPING)
        await asyncio.gather(*(child.stop() for child in self._services))
        epmd = [child for child in self._servers if child.spec.name == "epmd"]
        await asyncio.gather(*(child.stop() for child in self._servers if child not in epmd))
        await asyncio.gather(*(child.stop() for child in epmd))
        await asyncio.gather(*self._runs)

    async def _shorten_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            for child in (*self._servers, *self._services):
                child.spec.log.shorten()

    def _report(self, name: str, state: ProcessState) -> None:
        self._set(processes={**self._state.processes, name: state})

    def _set(self, **changes: object) -> None:
        self._state = self._state.model_copy(update=changes)
        self._file.write(self._state)


def supervise(request: Request) -> None:
    """Be the supervisor of the directory: end what a killed one left, run, and tidy up."""
    directory = request.directory
    file = StateFile(directory)
    with file.hold():
        leftovers.end(directory)
        me = ProcessId.of(os.getpid())
        if me is None:
            raise LocalError("this process is not in /proc; is /proc mounted?")
        state = State(supervisor=me, phase=Phase.STARTING, servers=request.servers)
        file.write(state)
        try:
            made = plan.make(request, os.environ)
            made.endpoints.save(directory)
            asyncio.run(Supervisor(made, file, state).run())
        except (LocalError, TimeoutError, OSError) as error:
            last = file.read() or state
            message = str(error) or "the servers were not ready in time"
            file.write(last.model_copy(update={"phase": Phase.FAILED, "message": message}))
            raise
        file.write((file.read() or state).model_copy(update={"phase": Phase.STOPPED}))
