"""Signatures by Standard Webhooks 1.0: HMAC-SHA256 over id, timestamp and body."""

import base64
import binascii
import hmac
import secrets
from collections.abc import Sequence
from hashlib import sha256

PREFIX = "whsec_"
KEY_BYTES_MIN, KEY_BYTES_MAX = 24, 64


class BadSecretError(ValueError):
    """It is not `whsec_` and 24 to 64 bytes in base64."""


def make_secret() -> str:
    """Make a secret of 32 random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def key_of(secret: str) -> bytes:
    """Decode a secret; raises BadSecretError."""
    text = secret.removeprefix(PREFIX)
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadSecretError("it is no base64") from None
    if text == secret or not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
        raise BadSecretError(f"{PREFIX} and {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes in base64")
    return key


def signatures(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> str:
    """Write the `webhook-signature` field: one signature for each key."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp, body)
    return " ".join(
        "v1," + base64.b64encode(hmac.new(key, signed, sha256).digest()).decode() for key in keys
    )
