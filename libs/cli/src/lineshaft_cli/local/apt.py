"""Debian's packages of the servers: installed when missing, without starting any service."""

import os
import shutil
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from lineshaft_cli.local import postgres, rabbitmq
from lineshaft_cli.local.errors import MissingProgramsError

POLICY = Path("/usr/sbin/policy-rc.d")
SAVED = POLICY.with_name("policy-rc.d.before-lineshaft")
MARK = "# lineshaft: services stay down while packages are installed"
FORBID_STARTS = f"#!/bin/sh\n{MARK}\nexit 101\n"
INSTALL_SECONDS = 900
LOCK_SECONDS = 300


def missing(only: frozenset[str] | None = None) -> list[str]:
    """Return the packages that the private servers need and this machine lacks."""
    packages: list[str] = []
    if (only is None or "rabbitmq" in only) and not rabbitmq.is_installed():
        packages += rabbitmq.PACKAGES
    if (only is None or "postgres" in only) and postgres.binaries() is None:
        packages += postgres.PACKAGES
    return packages


def install_missing(only: frozenset[str] | None = None) -> None:
    """Install what is missing; says what it installs, does nothing when all is here."""
    packages = missing(only)
    if not packages:
        return
    wanted = " ".join(packages)
    if shutil.which("apt-get") is None:
        message = f"this machine has no apt-get: install {wanted} by hand and try again"
        raise MissingProgramsError(message)
    began = time.monotonic()
    print(
        f"lineshaft: installing {wanted} with apt-get (their services are not started)", flush=True
    )
    with services_stay_down():
        _run(["dpkg", "--configure", "-a"])  # An installation that was killed is finished first.
        _run(["apt-get", "update", "-qq"])
        _run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages])
    print(f"lineshaft: installed in {time.monotonic() - began:.0f} s", flush=True)


@contextmanager
def services_stay_down() -> Generator[None]:
    """Tell Debian's maintainer scripts not to start services; afterwards as it was before.

    An older file is kept beside ours, so that the next run restores it when this one is killed.
    """
    _restore()
    if POLICY.exists():
        _as_root(["mv", str(POLICY), str(SAVED)])
    _as_root(["tee", str(POLICY)], FORBID_STARTS)
    _as_root(["chmod", "755", str(POLICY)])
    try:
        yield
    finally:
        _restore()


def _restore() -> None:
    """Take our own file away, and put the one that was there before back."""
    if POLICY.exists() and MARK in POLICY.read_text(encoding="utf-8", errors="replace"):
        _as_root(["rm", "-f", str(POLICY)])
    if SAVED.exists() and not POLICY.exists():
        _as_root(["mv", str(SAVED), str(POLICY)])


def _run(command: Sequence[str]) -> None:
    options = ["-o", f"DPkg::Lock::Timeout={LOCK_SECONDS}"] if command[0] == "apt-get" else []
    result = _as_root([command[0], *options, *command[1:]])
    if result.returncode != 0:
        shown = " ".join(command)
        message = f"`{shown}` failed:\n{result.stdout.strip()[-1500:]}\nMend that and try again."
        raise MissingProgramsError(message)


def _as_root(command: Sequence[str], text: str = "") -> "subprocess.CompletedProcess[str]":
    """Run a command as root: directly when we are, through sudo otherwise."""
    if os.getuid() != 0:
        if shutil.which("sudo") is None:
            message = (
                f"RabbitMQ and PostgreSQL are needed ({', '.join(missing())}), and to install "
                "them needs root: run as root, install sudo, or set LINESHAFT_AMQP_URL and "
                "LINESHAFT_POSTGRES_URL to servers that run already."
            )
            raise MissingProgramsError(message)
        settings = ["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8"]
        command = ["sudo", *settings, *command]
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    return subprocess.run(
        command,
        input=text,
        text=True,
        check=False,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=INSTALL_SECONDS,
    )
