"""What runs now: written by the supervisor at each change, read by `up`, `down` and `status`."""

import enum
import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lineshaft_cli.local.errors import AlreadyRunningError
from lineshaft_cli.local.files import write_atomically
from lineshaft_cli.local.process_id import ProcessId


class Phase(enum.StrEnum):
    """Where one process, or the system as a whole, stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    BACKING_OFF = "backing-off"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


class ProcessState(BaseModel):
    """One supervised process."""

    model_config = ConfigDict(frozen=True)

    phase: Phase = Phase.WAITING
    id: ProcessId | None = None
    restarts: int = 0
    url: str | None = None
    log: str
    message: str = ""


class State(BaseModel):
    """The supervisor and everything it runs."""

    model_config = ConfigDict(frozen=True)

    supervisor: ProcessId
    phase: Phase
    servers: str = ""
    message: str = ""
    processes: dict[str, ProcessState] = {}

    def is_running(self) -> bool:
        """Whether the supervisor that wrote this is still there."""
        return self.supervisor.is_alive()


class StateFile:
    """`state.json` and the lock beside it, in the directory of one local system."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "state.json"
        self._lock = directory / "supervisor.lock"

    def read(self) -> State | None:
        """Return the last state written; None when nothing ran here yet or it is unreadable."""
        try:
            return State.model_validate_json(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValidationError):
            return None

    def write(self, state: State) -> None:
        """Replace the state in one step."""
        write_atomically(self.path, state.model_dump_json(indent=2))

    @contextmanager
    def hold(self) -> Generator[None]:
        """Be the one supervisor of the directory; the kernel lets go when the process dies."""
        handle = os.open(self._lock, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise AlreadyRunningError("another supervisor runs in this directory") from None
            yield
        finally:
            os.close(handle)

    def is_held(self) -> bool:
        """Whether a supervisor runs in the directory."""
        try:
            with self.hold():
                return False
        except AlreadyRunningError:
            return True
