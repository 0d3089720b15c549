"""The RabbitMQ definitions document of a local node: our users and rights over the topology."""

import base64
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VIRTUAL_HOST = "lineshaft"
APPLICATION_USER = "lineshaft"
PLANT_USER = "plant-writer"
INGRESS_EXCHANGE = "plant.ingress"
SALT_BYTES = 4

# What makes two entries of a section the same one; the later document wins.
_IDENTITY: dict[str, Sequence[str]] = {
    "vhosts": ("name",),
    "users": ("name",),
    "permissions": ("user", "vhost"),
    "topic_permissions": ("user", "vhost", "exchange"),
    "parameters": ("component", "vhost", "name"),
    "global_parameters": ("name",),
    "policies": ("vhost", "name"),
    "exchanges": ("vhost", "name"),
    "queues": ("vhost", "name"),
    "bindings": (
        "vhost", "source", "destination_type", "destination", "routing_key", "arguments",
    ),
}  # fmt: skip

Document = Mapping[str, Any]


def password_hash(password: str, salt: bytes | None = None) -> str:
    """Return RabbitMQ's salted SHA-256 form: base64(salt + sha256(salt + password))."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def merge(first: Document, second: Document) -> dict[str, Any]:
    """Return the union of two definitions documents; entries of the second replace their like."""
    merged: dict[str, Any] = {**first, **second}
    for section, fields in _IDENTITY.items():
        entries = [*first.get(section, ()), *second.get(section, ())]
        unique = {
            json.dumps([entry.get(field) for field in fields], sort_keys=True): entry
            for entry in entries
        }
        if unique:
            merged[section] = list(unique.values())
    return merged


def accounts(passwords: Mapping[str, str]) -> dict[str, Any]:
    """Return the virtual host, its two users, and what each may do.

    `lineshaft` owns the virtual host. `plant-writer`, for publishers outside the system, may write
    to the ingress exchange and do nothing else.
    """
    ingress_only = f"^{INGRESS_EXCHANGE.replace('.', '[.]')}$"
    return {
        "vhosts": [{"name": VIRTUAL_HOST}],
        "users": [
            _user(APPLICATION_USER, passwords[APPLICATION_USER], tags=["administrator"]),
            _user(PLANT_USER, passwords[PLANT_USER], tags=[]),
        ],
        "permissions": [
            _permission(APPLICATION_USER, configure=".*", write=".*", read=".*"),
            _permission(PLANT_USER, configure="^$", write=ingress_only, read="^$"),
        ],
    }


def topology(root: Path) -> dict[str, Any]:
    """Read the generated topology of the contracts; empty while it has not been generated."""
    path = root / "contracts" / "topology.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def _user(name: str, password: str, *, tags: list[str]) -> dict[str, Any]:
    return {
        "name": name,
        "password_hash": password_hash(password),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": tags,
        "limits": {},
    }


def _permission(user: str, *, configure: str, write: str, read: str) -> dict[str, str]:
    rights = {"configure": configure, "write": write, "read": read}
    return {"user": user, "vhost": VIRTUAL_HOST, **rights}
