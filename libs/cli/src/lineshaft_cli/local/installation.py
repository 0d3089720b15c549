"""What one local system keeps between two starts: ports, passwords, where the data is."""

import hashlib
import os
import secrets
import stat
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from lineshaft_cli.local import ports
from lineshaft_cli.local.errors import LocalError
from lineshaft_cli.local.files import write_atomically

PASSWORD_BYTES = 18
FILE_NAME = "installation.json"


class Installation(BaseModel):
    """Ports, passwords and places, chosen at the first start and then remembered."""

    model_config = ConfigDict(frozen=True)

    servers: str | None = None
    ports: dict[str, int] = {}
    passwords: dict[str, str] = {}
    postgres_directory: str | None = None

    @classmethod
    def load(cls, directory: Path) -> "Installation":
        """Read the directory's installation; an empty one when there is none yet."""
        try:
            return cls.model_validate_json((directory / FILE_NAME).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return cls()
        except ValueError as error:
            message = f"{directory / FILE_NAME} is damaged: {error}. `make clean` starts afresh."
            raise LocalError(message) from error

    def save(self, directory: Path) -> None:
        """Write it for the next start; only its owner may read the passwords."""
        write_atomically(directory / FILE_NAME, self.model_dump_json(indent=2))

    def with_ports(self, wanted: dict[str, int | None]) -> "Installation":
        """Return one with a free port for each wanted name.

        A remembered port is kept while it is free; otherwise the preferred one is tried, then any.
        """
        chosen: dict[str, int] = {}
        for name, preferred in wanted.items():
            remembered = self.ports.get(name)
            taken = set(chosen.values()) | {
                port for other, port in self.ports.items() if other != name
            }
            if remembered is not None and remembered not in chosen.values():
                if ports.is_free(remembered):
                    chosen[name] = remembered
                    continue
                taken.add(remembered)
            chosen[name] = ports.choose(preferred=preferred, taken=taken)
        return self.model_copy(update={"ports": self.ports | chosen})

    def with_passwords(self, names: Iterable[str]) -> "Installation":
        """Return one with a random password for each name that has none."""
        fresh = {name: secrets.token_urlsafe(PASSWORD_BYTES) for name in names}
        return self.model_copy(update={"passwords": fresh | self.passwords})


def others_can_reach(path: Path) -> bool:
    """Whether a user without rights of its own can enter every directory above the path."""
    return all(
        parent.stat().st_mode & stat.S_IXOTH
        for parent in [*path.resolve().parents]
        if parent.exists()
    )


def place_for_other_user(directory: Path) -> Path:
    """Return a directory that a system user can reach: inside ours, else under /var/tmp.

    A checkout under /root is closed to the user `postgres`, so the data of such a one goes to
    a directory named after the checkout, which belongs to us and which `make clean` removes.
    """
    if others_can_reach(directory / "servers"):
        place = directory / "servers"
    else:
        digest = hashlib.sha256(os.fsencode(directory.resolve())).hexdigest()[:12]
        place = Path("/var/tmp") / f"lineshaft-{os.getuid()}-{digest}"  # noqa: S108 - checked below
    place.mkdir(mode=0o711, exist_ok=True)
    found = place.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
        message = f"{place} belongs to somebody else; remove it and try again"
        raise LocalError(message)
    place.chmod(0o711)
    return place
