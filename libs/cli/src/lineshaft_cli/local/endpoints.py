"""Where the servers of a local system are reached, with the credentials to reach them."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lineshaft_cli.local import databases
from lineshaft_cli.local.files import write_atomically

FILE_NAME = "endpoints.json"


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """URLs with credentials; None for what does not run."""

    amqp: str | None = None
    plant_amqp: str | None = None
    rabbitmq_management: str | None = None
    postgres: str | None = None
    databases: Mapping[str, str] = field(default_factory=dict[str, str])

    def with_databases(self, passwords: Mapping[str, str]) -> "Endpoints":
        """Return these with the URL of each service's own database."""
        if self.postgres is None:
            return self
        urls = {
            name: databases.url_of(self.postgres, name=name, password=passwords[name])
            for name in databases.NAMES
        }
        return dataclasses.replace(self, databases=urls)

    def save(self, directory: Path) -> None:
        """Write them for `lineshaft env` and the tests; only the owner may read them."""
        write_atomically(directory / FILE_NAME, json.dumps(dataclasses.asdict(self), indent=2))

    @classmethod
    def load(cls, directory: Path) -> "Endpoints":
        """Read them; all absent when nothing was started in the directory yet."""
        try:
            return cls(**json.loads((directory / FILE_NAME).read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls()
