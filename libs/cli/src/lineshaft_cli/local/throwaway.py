"""A pair of servers for one test run: on their own ports, quick, and gone with their owner."""

import fcntl
import os
import secrets
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from lineshaft_cli.local import apt, leftovers
from lineshaft_cli.local.clean import remove
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.launch import Launch
from lineshaft_cli.local.process_id import ProcessId
from lineshaft_cli.local.state import State, StateFile

STOP_SECONDS = 20.0
SERVERS = frozenset({"rabbitmq", "postgres"})


class Servers:
    """Private servers, or a whole private system, that one owner may stop, kill and watch.

    The supervisor starts a killed process again by itself, with its data.
    """

    def __init__(self, directory: Path, endpoints: Endpoints) -> None:
        self.directory = directory
        self.endpoints = endpoints
        self._file = StateFile(directory)

    def state(self) -> State:
        """Return what runs now."""
        state = self._file.read()
        if state is None:
            raise LocalError("the servers wrote no state")
        return state

    def process(self, name: str) -> ProcessId | None:
        """Return the server's process (`rabbitmq`, `postgres`), None while it is down."""
        return self.state().processes[name].id

    def restarts(self, name: str) -> int:
        """Return how often the server was started again."""
        return self.state().processes[name].restarts


@contextmanager
def servers(place: Path, only: frozenset[str] | None = SERVERS) -> Generator[Servers]:
    """Run the servers below `place` for the time of the block, then remove every trace.

    `only` names what to run; None stands for the whole system.

    They also end when the process that runs this block is killed.
    """
    place.mkdir(parents=True, exist_ok=True)
    with _turn(place):
        apt.install_missing()
        remove_abandoned(place)
    directory = place / f"{os.getpid()}-{secrets.token_hex(3)}"
    directory.mkdir(mode=0o711)
    launch = Launch(directory=directory, only=only, throwaway=True, parent=os.getpid())
    supervisor = launch.spawn()
    try:
        launch.follow(supervisor, lambda _: None)
        yield Servers(directory, Endpoints.load(directory))
    finally:
        supervisor.terminate()
        try:
            supervisor.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            supervisor.kill()
            supervisor.wait()
        leftovers.end(directory)
        remove(directory)


@contextmanager
def _turn(place: Path) -> Generator[None]:
    """Let one of the processes of a test run after the other do what only one may do at a time."""
    with (place / "turn.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def remove_abandoned(place: Path) -> None:
    """Remove what runs that were killed left behind: their processes and their directories."""
    for directory in place.iterdir():
        if directory.is_dir() and not StateFile(directory).is_held():
            owner = directory.name.partition("-")[0]
            if owner.isdecimal() and ProcessId.of(int(owner)) is None:
                leftovers.end(directory)
                remove(directory)
