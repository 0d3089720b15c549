"""API keys: `lsk_<prefix>_<secret>`, what each may do, and how one is recognised."""

import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from hashlib import blake2b
from typing import Protocol

ADMIN = "admin"
"""Name of the keys that the gateway itself makes."""
PREFIX_BYTES = 6
SECRET_BYTES = 32
KEY_LENGTH_MAX = 128


class Scope(StrEnum):
    """What a key may do; `system` covers what belongs to no tenant."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    JOBS_ADMIN = "jobs:admin"
    """Limits and pauses, bulk redrive, the audit: what touches jobs of others in the tenant."""
    EVENTS_READ = "events:read"
    EVENTS_WRITE = "events:write"
    SUBSCRIPTIONS_WRITE = "subscriptions:write"
    """Decide which events leave for where; whoever may do that receives them."""
    SYSTEM_READ = "system:read"
    SYSTEM_WRITE = "system:write"
    KEYS_WRITE = "keys:write"


ALL_SCOPES = tuple(Scope)


@dataclass(frozen=True, kw_only=True)
class ApiKey:
    """A key as it is kept: without its secret."""

    prefix: str
    tenant: str
    name: str
    scopes: frozenset[str]
    salt: bytes
    digest: bytes
    created_at: datetime
    created_by: str | None
    expires_at: datetime | None
    revoked_at: datetime | None

    def is_valid(self, now: datetime) -> bool:
        """Whether it is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)

    def matches(self, secret: str) -> bool:
        """Compare in constant time."""
        return hmac.compare_digest(self.digest, digest_of(secret, self.salt))


@dataclass(frozen=True, kw_only=True)
class Principal:
    """Who makes a request."""

    prefix: str
    tenant: str
    scopes: frozenset[str]
    expires_at: datetime | None = None

    def may(self, scope: Scope) -> bool:
        """Whether the key carries the scope."""
        return scope in self.scopes


class KeyStore(Protocol):
    """Where keys are kept."""

    async def find(self, prefix: str) -> ApiKey | None:
        """Look up a key, valid or not."""
        ...

    async def add(self, key: ApiKey) -> None:
        """Keep a new key."""
        ...

    async def list_of(self, tenant: str) -> list[ApiKey]:
        """Keys of a tenant, newest first."""
        ...

    async def revoke(self, prefix: str, tenant: str) -> tuple[str, ...]:
        """Make a key of a tenant void, with all that it made, directly or not, in any tenant.

        Returns the prefixes of these keys; empty when the tenant has no such key.
        """
        ...

    async def revoke_admin_keys(self, *, but: str) -> int:
        """Make the admin keys that the gateway itself made void, except one; return how many.

        What was made with them stays: the plant's programs keep their keys.
        """
        ...

    async def any_valid(self) -> bool:
        """Whether anybody could log in."""
        ...


def digest_of(secret: str, salt: bytes) -> bytes:
    """Hash a secret of 256 random bits, which needs no slow hash: there is nothing to guess."""
    return blake2b(secret.encode(), key=salt, digest_size=32).digest()


def parse(text: str) -> tuple[str, str] | None:
    """Split a key into (prefix, secret); None for anything that is no key."""
    parts = text.split("_") if len(text) <= KEY_LENGTH_MAX and text.isascii() else []
    if len(parts) != 3 or parts[0] != "lsk" or not parts[1] or not parts[2]:
        return None
    return parts[1], parts[2]


def make(
    *,
    tenant: str,
    name: str,
    scopes: frozenset[str],
    created_by: str | None = None,
    expires_at: datetime | None = None,
) -> tuple[ApiKey, str]:
    """Make a key; the second value is its text, which is shown once and kept nowhere."""
    prefix, secret = secrets.token_hex(PREFIX_BYTES), secrets.token_hex(SECRET_BYTES)
    salt = secrets.token_bytes(16)
    key = ApiKey(
        prefix=prefix,
        tenant=tenant,
        name=name,
        scopes=scopes,
        salt=salt,
        digest=digest_of(secret, salt),
        created_at=datetime.now(UTC),
        created_by=created_by,
        expires_at=expires_at,
        revoked_at=None,
    )
    return key, f"lsk_{prefix}_{secret}"
