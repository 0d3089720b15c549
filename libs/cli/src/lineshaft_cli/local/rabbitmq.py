"""A RabbitMQ node of our own: its data, cookie, name, ports and epmd are nobody else's."""

import asyncio
import json
import os
import secrets
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lineshaft_cli.local import definitions, readiness
from lineshaft_cli.local.child import Spec
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.files import write_atomically
from lineshaft_cli.local.log_file import LogFile
from lineshaft_cli.local.ports import LOOPBACK

# The scripts themselves: the wrapper in /usr/sbin insists on the system's user and directories.
BIN = Path("/usr/lib/rabbitmq/bin")
SERVER = BIN / "rabbitmq-server"
PACKAGES = ("rabbitmq-server",)
NODE_NAME = "lineshaft@localhost"
PORT_NAMES = ("rabbitmq", "rabbitmq-management", "rabbitmq-distribution", "epmd")
COOKIE_MODE = 0o400
EPMD_CHECK_SECONDS = 0.02
EPMD_CHECKS_MAX = 500


def is_installed() -> bool:
    """Whether the Debian package's server is here."""
    return SERVER.exists()


@dataclass(frozen=True, kw_only=True)
class Node:
    """One private node; `throwaway` means that its data need not outlive it."""

    directory: Path
    ports: Mapping[str, int]
    passwords: Mapping[str, str]
    topology: definitions.Document
    logs: Path
    throwaway: bool = False

    def write_configuration(self) -> None:
        """Write everything the node reads at its start; cheap, so done at each start."""
        for name in ("home", "mnesia", "log"):
            (self.directory / name).mkdir(parents=True, exist_ok=True, mode=0o700)
        self._write_cookie()
        accounts = definitions.accounts(self.passwords)
        document = definitions.merge(self.topology, accounts)
        write_atomically(self.directory / "definitions.json", json.dumps(document, indent=1))
        write_atomically(self.directory / "rabbitmq.conf", self._configuration())
        plugins = "[rabbitmq_management]." if self.throwaway else "[]."
        write_atomically(self.directory / "enabled_plugins", plugins + "\n")
        # An empty file, so that the system's rabbitmq-env.conf is not read instead.
        write_atomically(self.directory / "rabbitmq-env.conf", "")

    def epmd(self) -> Spec:
        """Return the node's own port mapper, in the foreground so that it ends with us."""
        port = self.ports["epmd"]
        return Spec(
            name="epmd",
            argv=["epmd", "-port", str(port), "-address", LOOPBACK],
            environment=self._environment(),
            directory=self.directory,
            log=LogFile(self.logs / "epmd.log"),
            ready=readiness.tcp(port),
            stop_seconds=2,
        )

    def server(self) -> Spec:
        """Return the node itself; it boots in 4 to 9 s and stops in 1 s."""
        return Spec(
            name="rabbitmq",
            argv=[str(SERVER)],
            environment=self._environment(),
            directory=self.directory,
            log=LogFile(self.logs / "rabbitmq.log"),
            ready=readiness.amqp(self.ports["rabbitmq"]),
            prepare=self._epmd_is_up,
            stop_signal=signal.SIGKILL if self.throwaway else signal.SIGTERM,
            stop_seconds=20,
        )

    def url(self, user: str = definitions.APPLICATION_USER) -> str:
        """Return the AMQP URL of one of the node's users."""
        password, port = self.passwords[user], self.ports["rabbitmq"]
        return f"amqp://{user}:{password}@{LOOPBACK}:{port}/{definitions.VIRTUAL_HOST}"

    def management_url(self) -> str | None:
        """Return the HTTP API with its credentials; only a throwaway node has one."""
        if not self.throwaway:
            return None
        user, port = definitions.APPLICATION_USER, self.ports["rabbitmq-management"]
        return f"http://{user}:{self.passwords[user]}@{LOOPBACK}:{port}"

    async def _epmd_is_up(self) -> None:
        """Wait for our port mapper: without one the node would put its own in the background."""
        check = readiness.tcp(self.ports["epmd"])
        for _ in range(EPMD_CHECKS_MAX):
            if await check():
                return
            await asyncio.sleep(EPMD_CHECK_SECONDS)
        message = (
            f"epmd does not listen on port {self.ports['epmd']}; see {self.logs / 'epmd.log'}"
        )
        raise LocalError(message)

    def _write_cookie(self) -> None:
        cookie = self.directory / "home" / ".erlang.cookie"
        if not cookie.exists():
            write_atomically(cookie, secrets.token_hex(16), mode=COOKIE_MODE)

    def _configuration(self) -> str:
        lines = [
            f"listeners.tcp.1 = {LOOPBACK}:{self.ports['rabbitmq']}",
            f"load_definitions = {self.directory / 'definitions.json'}",
            "log.console = true",
            "log.file = false",
            "log.console.level = warning",
            "disk_free_limit.absolute = 500MB",
            "vm_memory_high_watermark.absolute = 1GB",
            "cluster_partition_handling = ignore",
        ]
        if self.throwaway:
            lines += [
                f"management.tcp.ip = {LOOPBACK}",
                f"management.tcp.port = {self.ports['rabbitmq-management']}",
            ]
        return "\n".join(lines) + "\n"

    def _environment(self) -> dict[str, str]:
        place = self.directory
        loopback = LOOPBACK.replace(".", ",")
        arguments = f"-kernel inet_dist_use_interface {{{loopback}}} -start_epmd false"
        return {
            "PATH": f"{BIN}:{os.environ.get('PATH', os.defpath)}:/usr/sbin:/usr/bin:/sbin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(place / "home"),
            "RABBITMQ_NODENAME": NODE_NAME,
            "RABBITMQ_MNESIA_BASE": str(place / "mnesia"),
            "RABBITMQ_LOG_BASE": str(place / "log"),
            "RABBITMQ_CONFIG_FILE": str(place / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "RABBITMQ_CONF_ENV_FILE": str(place / "rabbitmq-env.conf"),
            "RABBITMQ_PID_FILE": str(place / "rabbitmq.pid"),
            "RABBITMQ_DIST_PORT": str(self.ports["rabbitmq-distribution"]),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": arguments,
            "ERL_EPMD_PORT": str(self.ports["epmd"]),
            "ERL_EPMD_ADDRESS": LOOPBACK,
            # Makes the start script become the Erlang machine instead of waiting beside it: our
            # signals then reach the node itself.
            "RUNNING_UNDER_SYSTEMD": "true",
        }
