"""The first key: written to a file that only its owner can read, so that somebody can log in."""

import ipaddress
import os
import secrets
from pathlib import Path

import structlog

from lineshaft_gateway.keyring import Keyring
from lineshaft_gateway.keys import ADMIN, ALL_SCOPES, KeyStore, make

log = structlog.get_logger(__name__)


class NoLoginError(SystemExit):
    """Nobody could log in, and the address is open to other machines."""


async def ensure_admin_key(
    store: KeyStore, file: Path | None, tenant: str, http_host: str
) -> None:
    """Make sure that a key exists; raise NoLoginError rather than serve others without one.

    A file that is missing, or whose key is void (another database, revoked), is written anew;
    admin keys from before become void, so that removing the file rotates a key that was lost.
    The file comes first: a key that could not be written down must not be valid.
    """
    if file is None:
        if await store.any_valid():
            return
        if not _is_loopback(http_host):
            raise NoLoginError(
                f"no API key exists and {http_host} is not a loopback address: "
                "set LINESHAFT_ADMIN_KEY_FILE"
            )
        log.warning("no_api_key", hint="set LINESHAFT_ADMIN_KEY_FILE to get one")
        return
    if await Keyring(store).recognise(_read(file)) is not None:
        return
    key, text = make(tenant=tenant, name=ADMIN, scopes=frozenset(ALL_SCOPES))
    _write(file, f"{text}\n")
    await store.add(key)
    revoked = await store.revoke_admin_keys(but=key.prefix)
    log.info(
        "admin_key_written",
        file=str(file),
        tenant=tenant,
        revoked=revoked,
        use=f'curl -H "Authorization: Bearer $(cat {file})" http://<this host>/api/jobs',
    )


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        return ""


def _write(file: Path, text: str) -> None:
    """Write at once or not at all; nobody else can read it at any moment."""
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as writer:
            writer.write(text)
            writer.flush()
            os.fsync(writer.fileno())
        beside.replace(file)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
