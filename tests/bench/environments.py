"""Installs each peer, once, into an environment of its own."""

import importlib.metadata
import json
import shutil
import subprocess
import sys
from pathlib import Path

from .places import ENVIRONMENTS

UV = Path(sys.executable).parent / "uv"
STAMP = "installed.txt"
INSTALL_SECONDS = 600.0


def python_environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Return the `bin` directory of an environment that holds these packages."""
    place = ENVIRONMENTS / name
    programs = place / "bin"
    if not _is_current(place, requirements):
        _run(UV, "venv", "--quiet", "--clear", "--python", sys.executable, place)
        _run(UV, "pip", "install", "--quiet", "--python", programs / "python", *requirements)
        _stamp(place, requirements)
    return programs


def node_environment(name: str, requirements: tuple[str, ...]) -> Path:
    """Return a directory below which Node finds these packages."""
    place = ENVIRONMENTS / name
    if not _is_current(place, requirements):
        npm = shutil.which("npm")
        if npm is None:
            raise RuntimeError("npm is needed: apt-get install npm")
        place.mkdir(parents=True, exist_ok=True)
        _run(
            npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", place, *requirements
        )
        _stamp(place, requirements)
    return place


def python_version(programs: Path, package: str) -> str:
    """Return the version of a package that is installed there."""
    libraries = [str(one) for one in programs.parent.glob("lib/python*/site-packages")]
    return next(
        found.version for found in importlib.metadata.distributions(name=package, path=libraries)
    )


def node_version(place: Path, package: str) -> str:
    """Return the version of a package that is installed there."""
    text = (place / "node_modules" / package / "package.json").read_text(encoding="utf-8")
    return str(json.loads(text)["version"])


def _is_current(place: Path, requirements: tuple[str, ...]) -> bool:
    try:
        return (place / STAMP).read_text(encoding="utf-8") == "\n".join(requirements)
    except FileNotFoundError:
        return False


def _stamp(place: Path, requirements: tuple[str, ...]) -> None:
    """Write it last, so that an installation that was killed is done again."""
    (place / STAMP).write_text("\n".join(requirements), encoding="utf-8")


def _run(*command: str | Path) -> None:
    ENVIRONMENTS.mkdir(parents=True, exist_ok=True)
    subprocess.run(command, check=True, timeout=INSTALL_SECONDS)
