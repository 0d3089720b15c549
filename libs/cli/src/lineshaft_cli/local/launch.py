"""Starts the supervisor in the background and follows it until everything is ready."""

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.plan import PRIVATE
from lineshaft_cli.local.state import Phase, ProcessState, State, StateFile

POLL_SECONDS = 0.1
FIRST_STATE_SECONDS = 20.0
# A process that failed this often before it was ever ready will not become ready.
FAILURES_MAX = 4
LOG_LINES = 15


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One start of a local system."""

    directory: Path
    servers: str = PRIVATE
    only: frozenset[str] | None = None
    processes: Path | None = None
    throwaway: bool = False
    parent: int | None = None
    timeout_seconds: float = 180.0

    @property
    def file(self) -> StateFile:
        """Return the state of this directory."""
        return StateFile(self.directory)

    def spawn(self) -> "subprocess.Popen[bytes]":
        """Start the supervisor; in a session of its own, so that no terminal takes it along."""
        arguments = ["--directory", str(self.directory), "--servers", self.servers]
        if self.only is not None:
            arguments += ["--only", ",".join(sorted(self.only))]
        if self.processes is not None:
            arguments += ["--processes", str(self.processes)]
        if self.throwaway:
            arguments.append("--throwaway")
        if self.parent is not None:
            arguments += ["--parent", str(self.parent)]
        log = LogFile(self.directory / "logs" / "supervisor.log")
        log.shorten()
        with open(log.open(), "wb") as output:  # noqa: PTH123 - a descriptor
            return subprocess.Popen(
                [sys.executable, "-m", "lineshaft_cli.local", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
            )

    def follow(
        self, supervisor: "subprocess.Popen[bytes] | None", show: Callable[[State], None]
    ) -> State:
        """Return the state once all is ready; raise with the reason when that will not be."""
        deadline = time.monotonic() + self.timeout_seconds
        first_state_by = time.monotonic() + FIRST_STATE_SECONDS
        while True:
            state = self._state(supervisor)
            if state is not None:
                show(state)
                if state.phase is Phase.READY:
                    return state
                self._raise_if_hopeless(state)
            elif time.monotonic() > first_state_by or self._has_ended(supervisor):
                raise LocalError(self._supervisor_failure())
            if time.monotonic() > deadline:
                message = f"not ready after {self.timeout_seconds:g} s. {_unready(state)}"
                raise LocalError(message)
            time.sleep(POLL_SECONDS)

    def _state(self, supervisor: "subprocess.Popen[bytes] | None") -> State | None:
        """Return the state of the supervisor that we follow, not the one of an earlier run."""
        state = self.file.read()
        if state is None:
            return None
        if state.is_running():
            return state
        ours = supervisor is not None and state.supervisor.pid == supervisor.pid
        return state if ours else None

    def _has_ended(self, supervisor: "subprocess.Popen[bytes] | None") -> bool:
        """Whether our supervisor ended without another one holding the directory."""
        ended = supervisor is None or supervisor.poll() is not None
        return ended and not self.file.is_held()

    def _raise_if_hopeless(self, state: State) -> None:
        for name, process in state.processes.items():
            if process.phase is Phase.BACKING_OFF and process.restarts >= FAILURES_MAX:
                raise LocalError(failure_report(name, process))
        if state.phase is Phase.FAILED:
            message = f"{state.message}\n{_unready(state)}"
            raise LocalError(message)
        if state.phase in {Phase.STOPPING, Phase.STOPPED} or not state.is_running():
            raise LocalError("the system was stopped while it started")

    def _supervisor_failure(self) -> str:
        log = LogFile(self.directory / "logs" / "supervisor.log")
        return "\n".join(["the supervisor did not start:", *log.tail(LOG_LINES)])


def failure_report(name: str, process: ProcessState) -> str:
    """Return why a process does not come up, with the end of its log and what to do."""
    tail = [f"    {line}" for line in LogFile(Path(process.log)).tail(LOG_LINES)]
    return "\n".join(
        [
            f"{name} does not start: {process.message}",
            f"  the end of {process.log}:",
            *tail,
            "  Mend the cause and start again; `make clean` starts afresh, without the data.",
        ]
    )


def _unready(state: State | None) -> str:
    """Return what is known of the processes that hold the start up; those after them just wait."""
    if state is None:
        return "The supervisor wrote no state."
    settled = {Phase.READY, Phase.WAITING, Phase.STOPPED}
    slow = {name: one for name, one in state.processes.items() if one.phase not in settled}
    return "\n".join(failure_report(name, process) for name, process in slow.items())
