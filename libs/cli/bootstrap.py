#!/usr/bin/env python3
"""Makes `.venv` as `requirements.lock` describes it; standard library only, any Python >= 3.11.

Run by every make target. When nothing changed since the last time it returns at once.
"""

import ast
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
UV = VENV / "bin" / "uv"
LOCK = ROOT / "requirements.lock"
# Written last and in one step: an installation that was killed has none, and is done again.
STAMP = VENV / "lineshaft.stamp"
PYTHON_MIN = (3, 11)
ATTEMPTS = 3


class SetupError(Exception):
    """Setting up failed; the message says what to do."""


def packages() -> list[Path]:
    """Return the directories of the workspace's own packages."""
    patterns = ("contracts", "libs/*", "services/*", "examples/*")
    found = (path for pattern in patterns for path in sorted(ROOT.glob(pattern)))
    return [path for path in found if (path / "pyproject.toml").exists()]


def fingerprint() -> str:
    """Return a digest of everything that decides what the environment holds."""
    digest = hashlib.sha256(f"{sys.version_info[:2]} {ROOT}".encode())
    for path in (LOCK, Path(__file__), *(package / "pyproject.toml" for package in packages())):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def is_current(wanted: str) -> bool:
    """Whether the environment is complete and made from these very files."""
    try:
        return STAMP.read_text(encoding="utf-8") == wanted and PYTHON.exists()
    except FileNotFoundError:
        return False


def step(name: str, work: Callable[[], None]) -> None:
    """Do one step and print how long it took."""
    began = time.monotonic()
    print(f"setup: {name} ...", flush=True)
    work()
    print(f"setup: {name}: {time.monotonic() - began:.1f} s", flush=True)


def run(command: Sequence[str | Path], *, advice: str) -> None:
    """Run a command quietly; show its output only when it fails."""
    result = subprocess.run(
        [str(part) for part in command],
        check=False,
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    if result.returncode != 0:
        shown = " ".join(str(part) for part in command)
        message = f"`{shown}` failed:\n{result.stdout.strip()[-3000:]}\n{advice}"
        raise SetupError(message)


def run_again(command: Sequence[str | Path], *, advice: str) -> None:
    """Run a command that uses the network, a few times when it fails."""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            run(command, advice=advice)
        except SetupError:
            if attempt == ATTEMPTS:
                raise
            print(f"setup: attempt {attempt} failed, trying again", flush=True)
        else:
            return


def check_python() -> None:
    """Refuse a Python that is too old before anything else fails in a stranger way."""
    if sys.version_info < PYTHON_MIN:
        wanted = ".".join(map(str, PYTHON_MIN))
        message = (
            f"Python {wanted} or newer is needed, this is {sys.version.split()[0]} "
            f"({sys.executable}). Name another one: make PYTHON=python{wanted} ..."
        )
        raise SetupError(message)


def install_venv_module() -> None:
    """Install Debian's package with `ensurepip`, which its Python comes without."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    package = f"python{version}-venv"
    if shutil.which("apt-get") is None:
        message = f"this Python has no venv module: install it (Debian: {package}) and try again"
        raise SetupError(message)
    sudo: list[str] = []
    if os.getuid() != 0:
        if shutil.which("sudo") is None:
            message = f"as root: apt-get install {package}; then try again"
            raise SetupError(message)
        sudo = ["sudo", "DEBIAN_FRONTEND=noninteractive"]
    else:
        os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    advice = f"Install {package} by hand and try again."
    apt = [*sudo, "apt-get", "-o", "DPkg::Lock::Timeout=300", "-qq"]
    run_again([*apt, "update"], advice=advice)
    run_again([*apt, "install", "-y", "--no-install-recommends", package], advice=advice)


def make_venv() -> None:
    """Make a new environment; one that is broken or of another Python is replaced."""
    if importlib.util.find_spec("ensurepip") is None:
        step("installing Debian's python3-venv with apt-get", install_venv_module)
    advice = "Remove .venv and try again."
    run([sys.executable, "-m", "venv", "--clear", VENV], advice=advice)


def is_usable() -> bool:
    """Whether there is an environment of this Python in which pip works."""
    question = [str(PYTHON), "-c", "import pip, sys; print(tuple(sys.version_info[:2]))"]
    try:
        result = subprocess.run(question, check=False, capture_output=True, text=True)
    except OSError:
        return False
    return result.returncode == 0 and ast.literal_eval(result.stdout) == sys.version_info[:2]


def install_uv() -> None:
    """Install the installer: it is much quicker than pip and checks the same hashes."""
    advice = "Is the Python package index reachable? Check the network, a proxy, pip's settings."
    command = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"]
    run_again(command, advice=advice)


def install_requirements() -> None:
    """Bring the environment to exactly what the lock names; every file is checked by its hash."""
    advice = "Is the Python package index reachable? Check the network, a proxy, uv's settings."
    command = [UV, "pip", "sync", "--quiet", "--require-hashes", "--python", PYTHON, LOCK]
    # Compiled once here instead of by every service at its first start.
    command.append("--compile-bytecode")
    run_again(command, advice=advice)


def install_packages() -> None:
    """Install the workspace's own packages so that edits take effect at once."""
    command: list[str | Path] = [UV, "pip", "install", "--quiet", "--python", PYTHON]
    command += ["--no-deps", "--no-build-isolation"]
    for package in packages():
        command += ["--editable", package]
    run(command, advice="Is a pyproject.toml damaged?")


def set_up(wanted: str) -> None:
    """Do every step that is needed, and note at the very end that all is done."""
    STAMP.unlink(missing_ok=True)
    if not is_usable():
        step(f"making .venv with Python {sys.version.split()[0]}", make_venv)
    if not UV.exists():
        step("installing uv", install_uv)
    lines = LOCK.read_text(encoding="utf-8").splitlines()
    count = sum("==" in line for line in lines)
    step(f"installing {count} packages of requirements.lock, hashes checked", install_requirements)
    step(f"installing the {len(packages())} packages of this checkout", install_packages)
    aside = STAMP.with_suffix(".new")
    aside.write_text(wanted, encoding="utf-8")
    aside.replace(STAMP)


def main() -> None:
    """Set up the environment unless it is current; one process at a time."""
    try:
        check_python()
        wanted = fingerprint()
        if is_current(wanted):
            return
        # Beside .venv and not inside, since making the environment empties it.
        with (ROOT / ".venv.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not is_current(wanted):
                set_up(wanted)
    except SetupError as error:
        sys.exit(f"setup: {error}")


if __name__ == "__main__":
    main()
