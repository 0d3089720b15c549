"""One supervised process: started, watched until ready, restarted when it ends, stopped."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lineshaft_cli.local.death_signal import die_with
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.readiness import Check
from lineshaft_cli.local.state import Phase, ProcessState

READY_POLL_SECONDS = 0.1
# A process that stayed up this long has recovered: its next restart is quick again.
STEADY_SECONDS = 30.0
FIRST_DELAY_SECONDS = 0.5
DELAY_SECONDS_MAX = 30.0


@dataclass(frozen=True, kw_only=True)
class Account:
    """The system user that a program runs as; None for both means ourselves."""

    uid: int | None = None
    gid: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Return the further groups: none for another user, unchanged for ourselves."""
        return None if self.uid is None else []


async def nothing() -> None:
    """Prepare nothing before a start."""


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How one process is started, known to be ready, and stopped."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    directory: Path
    log: LogFile
    ready: Check
    url: str | None = None
    account: Account = Account()
    prepare: Callable[[], Awaitable[None]] = nothing
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    # What the kernel sends when the supervisor is killed and can stop nobody itself.
    orphan_signal: signal.Signals = signal.SIGKILL


def restart_delays() -> Iterator[float]:
    """Seconds to wait before each restart in a row: doubling, up to a bound."""
    delay = FIRST_DELAY_SECONDS
    while True:
        yield delay
        delay = min(delay * 2, DELAY_SECONDS_MAX)


@dataclass
class Child:
    """Keeps one process running until it is stopped; reports each change."""

    spec: Spec
    report: Callable[[str, ProcessState], None]
    state: ProcessState = field(init=False)
    is_ready: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _process: asyncio.subprocess.Process | None = field(init=False, default=None)
    _stopping: asyncio.Event = field(init=False, default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        """Announce the process as waiting."""
        self.state = ProcessState(log=str(self.spec.log.path), url=self.spec.url)
        self._change(Phase.WAITING)

    async def run(self) -> None:
        """Start the process, and again after each end with a growing delay, until `stop`."""
        delays = restart_delays()
        while not self._stopping.is_set():
            began = time.monotonic()
            message = await self._run_once()
            self.is_ready.clear()
            if self._stopping.is_set():
                break
            if time.monotonic() - began > STEADY_SECONDS:
                delays = restart_delays()
            delay = next(delays)
            self._change(
                Phase.BACKING_OFF,
                process=None,
                message=f"{message}; starts again in {delay:g} s",
                restarts=self.state.restarts + 1,
            )
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
        self._change(Phase.STOPPED, process=None)

    async def stop(self) -> None:
        """Ask the process to end, kill it and its group when it has not in time."""
        self._stopping.set()
        process = self._process
        if process is None or process.returncode is not None:
            return
        self._change(Phase.STOPPING, process=self.state.id)
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(self.spec.stop_signal)
        try:
            async with asyncio.timeout(self.spec.stop_seconds):
                await process.wait()
        except TimeoutError:
            self._kill_group(process.pid)
            await process.wait()

    async def _run_once(self) -> str:
        """Run the process to its end; say how it ended."""
        self._change(Phase.STARTING, process=None)
        try:
            await self.spec.prepare()
            process = await self._spawn()
        except (OSError, LocalError) as error:
            return f"cannot start: {error}"
        self._process = process
        if self._stopping.is_set():  # `stop` came while there was no process to signal yet.
            self._kill_group(process.pid)
        self._change(Phase.STARTING, process=ProcessId.of(process.pid))
        watch = asyncio.create_task(self._watch_readiness())
        try:
            code = await process.wait()
        finally:
            watch.cancel()
            # What the process itself had started must not outlive it.
            self._kill_group(process.pid)
        return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        spec = self.spec
        output = spec.log.open()
        try:
            return await asyncio.create_subprocess_exec(
                *spec.argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd=spec.directory,
                env=dict(spec.environment),
                start_new_session=True,
                umask=0o077,  # What a process writes is its own user's.
                preexec_fn=partial(die_with, os.getpid(), spec.orphan_signal),
                user=spec.account.uid,
                group=spec.account.gid,
                extra_groups=spec.account.groups,
            )
        finally:
            os.close(output)

    async def _watch_readiness(self) -> None:
        while not await self.spec.ready():  # noqa: ASYNC110 - another process has no event
            await asyncio.sleep(READY_POLL_SECONDS)
        self._change(Phase.READY, process=self.state.id)
        self.is_ready.set()

    def _change(
        self,
        phase: Phase,
        *,
        process: ProcessId | None = None,
        message: str = "",
        restarts: int | None = None,
    ) -> None:
        self.state = self.state.model_copy(
            update={
                "phase": phase,
                "id": process,
                "message": message,
                "restarts": self.state.restarts if restarts is None else restarts,
            }
        )
        self.report(self.spec.name, self.state)

    @staticmethod
    def _kill_group(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
