"""Removes a local system that does not run: its data, its logs, its passwords."""

import contextlib
import shutil
from pathlib import Path

from lineshaft_cli.local import docker
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.installation import Installation, place_for_other_user
from lineshaft_cli.local.plan import ROOT
from lineshaft_cli.local.state import StateFile

TEST_RUNS = "test"


def remove(directory: Path) -> None:
    """Delete the directory, and server data that lies elsewhere; refused while the system runs."""
    if not directory.exists():
        return
    if StateFile(directory).is_held():
        message = "the system is running: stop it first (make down)"
        raise LocalError(message)
    if Installation.load(directory).servers == docker.KIND:
        docker.Containers(ROOT, directory).remove()
    shutil.rmtree(place_for_other_user(directory))
    for entry in directory.iterdir():
        if entry.name == TEST_RUNS:
            _remove_ended(entry)
        elif entry.is_dir():
            shutil.rmtree(entry)
        else:
            entry.unlink()
    with contextlib.suppress(OSError):  # Not empty: a test run is in it.
        directory.rmdir()


def _remove_ended(runs: Path) -> None:
    """Remove the servers of test runs, except those that a run uses now."""
    for run in runs.iterdir():
        if not StateFile(run).is_held():
            remove(run)
    with contextlib.suppress(OSError):
        runs.rmdir()
