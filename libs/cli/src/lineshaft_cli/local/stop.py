"""Stops a local system, whether its supervisor still lives or not."""

import signal
from pathlib import Path

from lineshaft_cli.local import docker, leftovers
from lineshaft_cli.local.installation import Installation
from lineshaft_cli.local.plan import ROOT
from lineshaft_cli.local.state import StateFile

# Services have 10 s, servers 20 s, each enforced by the supervisor itself.
SUPERVISOR_SECONDS = 40.0


def stop(directory: Path) -> bool:
    """Stop the supervisor and end whatever a killed one left; False when nothing ran."""
    if not directory.exists():
        return False
    state = StateFile(directory).read()
    was_running = state is not None and state.is_running()
    if state is not None:
        state.supervisor.end(signal.SIGTERM, grace_seconds=SUPERVISOR_SECONDS)
    ended = leftovers.end(directory)
    if Installation.load(directory).servers == docker.KIND:
        docker.Containers(ROOT, directory).stop()
    return was_running or ended > 0
