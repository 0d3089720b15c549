"""Removes a local system that does not run: its data, its logs, its passwords."""

import shutil
from pathlib import Path

from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.installation import place_for_other_user
from lineshaft_cli.local.state import StateFile


def remove(directory: Path) -> None:
    """Delete the directory, and the server data that lies elsewhere; a running system is refused."""
    if not directory.exists():
        return
    if StateFile(directory).is_held():
        message = "the system is running: stop it first (make down)"
        raise LocalError(message)
    shutil.rmtree(place_for_other_user(directory))
    shutil.rmtree(directory, ignore_errors=True)
