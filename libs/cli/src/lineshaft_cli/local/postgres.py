"""A PostgreSQL cluster of our own, on the loopback interface only."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lineshaft_cli.local import readiness
from lineshaft_cli.local.child import Account, Spec
from lineshaft_cli.local.death_signal import die_with
from lineshaft_cli.local.errors import LocalError, MissingProgramsError
from lineshaft_cli.local.files import write_atomically
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.ports import LOOPBACK
from lineshaft_cli.local.process_id import ProcessId

INSTALLATIONS = Path("/usr/lib/postgresql")
PACKAGES = ("postgresql",)
SUPERUSER = "postgres"
SYSTEM_USER = "postgres"
PORT_NAMES = ("postgres",)


def binaries(data: Path | None = None) -> Path | None:
    """Return the directory of the newest server, or of the version that wrote `data`."""
    found = {path.parent.parent.name: path.parent for path in INSTALLATIONS.glob("*/bin/postgres")}
    if data is not None and (data / "PG_VERSION").exists():
        version = (data / "PG_VERSION").read_text(encoding="utf-8").strip()
        if version not in found:
            message = f"{data} was written by PostgreSQL {version}, which is no longer installed"
            raise MissingProgramsError(message)
        return found[version]
    return found[max(found, key=int)] if found else None


def system_account() -> Account:
    """Return the user that the server must run as: it refuses to run as root."""
    if os.getuid() != 0:
        return Account()
    entry = pwd.getpwnam(SYSTEM_USER)
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One private cluster; `throwaway` trades the safety of its data for speed."""

    place: Path
    port: int
    password: str
    logs: Path
    throwaway: bool = False

    @property
    def data(self) -> Path:
        """Return the data directory, below the place, as the server's own user wants it."""
        return self.place / "postgres"

    def server(self) -> Spec:
        """Return the server; its first start makes the cluster (1.5 s)."""
        program = binaries(self.data)
        if program is None:
            raise MissingProgramsError("PostgreSQL is not installed")
        return Spec(
            name="postgres",
            argv=[str(program / "postgres"), "-D", str(self.data), *self._options()],
            environment=self._environment(),
            directory=self.place,
            log=LogFile(self.logs / "postgres.log"),
            ready=readiness.postgresql(self.port),
            account=system_account(),
            prepare=self._prepare,
            stop_signal=signal.SIGQUIT if self.throwaway else signal.SIGINT,
            stop_seconds=20,
            # An immediate shutdown takes the server's own children along, which a kill would not.
            orphan_signal=signal.SIGQUIT,
        )

    def url(self, *, user: str = SUPERUSER, password: str | None = None, database: str) -> str:
        """Return the URL of a database, as the superuser unless told otherwise."""
        secret = self.password if password is None else password
        return f"postgresql://{user}:{secret}@{LOOPBACK}:{self.port}/{database}"

    async def _prepare(self) -> None:
        """Make the cluster when there is none: aside first, so a kill leaves no half of one."""
        if (self.data / "PG_VERSION").exists():
            end_leftover(self.data)
            return
        aside = self.place / "postgres.new"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        password = self.place / "superuser.password"
        write_atomically(password, self.password)
        account = system_account()
        if account.uid is not None and account.gid is not None:
            os.chown(aside, account.uid, account.gid)
            os.chown(password, account.uid, account.gid)
        try:
            await self._initdb(aside, password, account)
        finally:
            password.unlink(missing_ok=True)
        aside.rename(self.data)

    async def _initdb(self, data: Path, password: Path, account: Account) -> None:
        program = binaries()
        if program is None:
            raise MissingProgramsError("PostgreSQL is not installed")
        options = ["-E", "UTF8", "--locale=C.UTF-8", "-A", "scram-sha-256", "-U", SUPERUSER]
        if self.throwaway:
            options.append("--no-sync")
        process = await asyncio.create_subprocess_exec(
            str(program / "initdb"), "-D", str(data), f"--pwfile={password}", *options,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            cwd=self.place, env=self._environment(), start_new_session=True,
            preexec_fn=partial(die_with, os.getpid(), signal.SIGKILL),
            user=account.uid, group=account.gid, extra_groups=account.groups,
        )  # fmt: skip
        output, _ = await process.communicate()
        if process.returncode != 0:
            message = f"initdb failed: {output.decode(errors='replace').strip()[-800:]}"
            raise LocalError(message)

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": "200",
            "shared_buffers": "64MB",
            "password_encryption": "scram-sha-256",
            "logging_collector": "off",
        }
        if self.throwaway:
            # What is committed outlives a kill of the server, though not one of the machine.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _environment(self) -> Mapping[str, str]:
        return {"PATH": os.environ.get("PATH", os.defpath), "LANG": "C.UTF-8", "TZ": "UTC"}


def end_leftover(data: Path) -> None:
    """End a server that still runs on the data directory, and remove the note it left there.

    The note (`postmaster.pid`) of a killed server names a process number that may belong to
    somebody else by now, so only a process whose working directory is the data is one.
    """
    note = data / "postmaster.pid"
    try:
        pid = int(note.read_text(encoding="utf-8").splitlines()[0])
    except (FileNotFoundError, ValueError, IndexError):
        return
    with contextlib.suppress(OSError):
        process = ProcessId.of(pid)
        if process is not None and Path(f"/proc/{pid}/cwd").readlink() == data.resolve():
            process.end(signal.SIGQUIT, grace_seconds=5)
    note.unlink(missing_ok=True)
