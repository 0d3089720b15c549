"""Removes a local system that does not run: its data, its logs, its passwords."""

import shutil
from pathlib import Path

from lineshaft_cli.local import docker
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.installation import Installation, place_for_other_user
from lineshaft_cli.local.plan import ROOT
from lineshaft_cli.local.state import StateFile


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
    shutil.rmtree(directory, ignore_errors=True)
