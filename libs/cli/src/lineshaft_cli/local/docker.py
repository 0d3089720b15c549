"""RabbitMQ and PostgreSQL from the compose file, when a Docker engine answers."""

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from lineshaft_cli.local import databases, definitions
from lineshaft_cli.local.endpoints import Endpoints
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.files import write_atomically
from lineshaft_cli.local.installation import Installation
from lineshaft_cli.local.ports import LOOPBACK
from lineshaft_cli.local.postgres import SUPERUSER

KIND = "docker"
ANSWER_SECONDS = 5.0
START_SECONDS = 600.0
STOP_SECONDS = 60.0
SERVERS = ("rabbitmq", "postgres")
DEFAULT_PORTS = (5672, 15672, 5432)
PORT_NAMES = ("docker-rabbitmq", "docker-rabbitmq-management", "docker-postgres")
ACCOUNTS = (definitions.APPLICATION_USER, definitions.PLANT_USER, SUPERUSER, *databases.NAMES)
# The directory above is closed to others; inside the containers, other users read these two.
SECRET_MODE = 0o644


class DockerError(LocalError):
    """The engine answers, but the containers did not come up."""


def engine_answers() -> bool:
    """Whether a Docker client with compose is here and its engine answers quickly."""
    if shutil.which("docker") is None:
        return False
    questions = (
        ["docker", "version", "--format", "{{.Server.Version}}"],
        ["docker", "compose", "version"],
    )
    try:
        return all(
            subprocess.run(
                question, check=False, capture_output=True, timeout=ANSWER_SECONDS
            ).returncode
            == 0
            for question in questions
        )
    except (OSError, subprocess.TimeoutExpired):
        return False


class Containers:
    """The two servers of one local system, as a compose project of its own."""

    def __init__(self, root: Path, directory: Path) -> None:
        self._root = root
        self._directory = directory
        self._files = directory / "compose"
        digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:8]
        self._project = f"lineshaft-{digest}"

    def start(self, names: Sequence[str] = SERVERS) -> None:
        """Start them and wait until they are healthy; containers that run already stay."""
        installation = Installation.load(self._directory).with_passwords(ACCOUNTS)
        if not self._is_running():
            installation = installation.with_ports(dict.fromkeys(PORT_NAMES))
        installation.save(self._directory)
        write_files(self._root, self._files, installation)
        result = self._compose(["up", "--detach", "--wait", *names], START_SECONDS)
        if result.returncode != 0:
            logs = self._compose(["logs", "--tail", "20", *names], STOP_SECONDS).stdout
            message = f"docker compose up failed:\n{result.stdout.strip()[-800:]}\n{logs[-2500:]}"
            raise DockerError(message)

    def stop(self) -> None:
        """Stop them; their volumes stay."""
        if self._files.exists():
            self._compose(["stop"], STOP_SECONDS)

    def remove(self) -> None:
        """Remove them with their volumes."""
        if self._files.exists():
            self._compose(["down", "--volumes"], STOP_SECONDS)

    def _is_running(self) -> bool:
        if not self._files.exists():
            return False
        return bool(self._compose(["ps", "--quiet"], STOP_SECONDS).stdout.strip())

    def _compose(
        self, arguments: Sequence[str], timeout_seconds: float
    ) -> "subprocess.CompletedProcess[str]":
        command = ["docker", "compose", "--project-name", self._project]
        command += ["--env-file", str(self._files / "compose.env"), *arguments]
        try:
            return subprocess.run(
                command,
                cwd=self._root, check=False, text=True, timeout=timeout_seconds,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            message = f"docker compose: {error}"
            raise DockerError(message) from error


def endpoints(installation: Installation) -> Endpoints:
    """Return the published addresses of the two containers."""
    published = {**dict(zip(PORT_NAMES, DEFAULT_PORTS, strict=True)), **installation.ports}
    broker, management, database = (published[name] for name in PORT_NAMES)
    passwords = {name: quote(secret, safe="") for name, secret in installation.passwords.items()}

    def amqp(user: str) -> str:
        return f"amqp://{user}:{passwords[user]}@{LOOPBACK}:{broker}/{definitions.VIRTUAL_HOST}"

    return Endpoints(
        amqp=amqp(definitions.APPLICATION_USER),
        plant_amqp=amqp(definitions.PLANT_USER),
        rabbitmq_management=(
            f"http://{definitions.APPLICATION_USER}:{passwords[definitions.APPLICATION_USER]}"
            f"@{LOOPBACK}:{management}"
        ),
        postgres=f"postgresql://{SUPERUSER}:{passwords[SUPERUSER]}@{LOOPBACK}:{database}/postgres",
    )


def variables(directory: Path, installation: Installation) -> Mapping[str, str]:
    """Return what the compose file takes from its env file."""
    databases_ = {
        f"LINESHAFT_{name.upper()}_DATABASE_PASSWORD": installation.passwords[name]
        for name in databases.NAMES
    }
    published = {
        f"LINESHAFT_{name.upper().replace('-', '_').removeprefix('DOCKER_')}_PORT": str(port)
        for name, port in installation.ports.items()
        if name in PORT_NAMES
    }
    return {
        "LINESHAFT_SECRETS": str(directory),
        "LINESHAFT_RABBITMQ_PASSWORD": installation.passwords[definitions.APPLICATION_USER],
        **databases_,
        **published,
    }


def write_files(root: Path, directory: Path, installation: Installation) -> None:
    """Write the env file and the two secret files that the compose file names."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    accounts = definitions.accounts(installation.passwords)
    document = definitions.merge(definitions.topology(root), accounts)
    secrets = {
        "rabbitmq-definitions.json": json.dumps(document, indent=1),
        "postgres-password": installation.passwords[SUPERUSER],
    }
    for name, text in secrets.items():
        write_atomically(directory / name, text, mode=SECRET_MODE)
    lines = [f"{name}={value}" for name, value in variables(directory, installation).items()]
    write_atomically(directory / "compose.env", "\n".join(lines) + "\n")


def write_project_files(root: Path, directory: Path) -> Path:
    """Write what `docker compose` in the checkout needs: `.env`, the secrets, the endpoints.

    Passwords are chosen once; an `.env` that is there already is kept, with its settings.
    """
    files = directory / "compose"
    files.mkdir(mode=0o700, parents=True, exist_ok=True)
    installation = Installation.load(files).with_passwords(ACCOUNTS)
    installation.save(files)
    write_files(root, files, installation)
    endpoints(installation).with_databases(installation.passwords).save(files)
    path = root / ".env"
    if not path.exists():
        write_atomically(path, (files / "compose.env").read_text(encoding="utf-8"))
    return path
