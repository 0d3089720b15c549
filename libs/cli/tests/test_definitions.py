"""The definitions document of a local RabbitMQ node."""

import base64
import hashlib
import re
from pathlib import Path

from lineshaft_cli.local import definitions

PASSWORDS = {definitions.APPLICATION_USER: "one", definitions.PLANT_USER: "two"}


def test_a_password_hash_is_base64_of_salt_and_salted_sha256() -> None:
    # The worked example of RabbitMQ's documentation ("passwords", computing a password hash).
    salt = bytes.fromhex("908DC60A")
    assert definitions.password_hash("test12", salt) == (
        "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )


def test_each_hash_has_a_salt_of_its_own() -> None:
    first, second = definitions.password_hash("secret"), definitions.password_hash("secret")
    assert first != second
    raw = base64.b64decode(first)
    assert raw[4:] == hashlib.sha256(raw[:4] + b"secret").digest()


def test_the_plant_user_may_write_to_the_ingress_and_do_nothing_else() -> None:
    rights = {entry["user"]: entry for entry in definitions.accounts(PASSWORDS)["permissions"]}
    plant = rights[definitions.PLANT_USER]
    assert re.search(plant["write"], "plant.ingress")
    for name in ("plant.production", "plantXingress", "plant.ingress2", "jobs.commands", ""):
        assert not re.search(plant["write"], name)
    for right in ("configure", "read"):
        assert not re.search(plant[right], "plant.ingress")


def test_no_password_is_written_in_the_clear() -> None:
    document = definitions.accounts({"lineshaft": "open-sesame", "plant-writer": "abracadabra"})
    assert "open-sesame" not in str(document)
    assert "abracadabra" not in str(document)


def test_entries_of_the_second_document_replace_their_like() -> None:
    first = {
        "vhosts": [{"name": "lineshaft"}],
        "users": [{"name": "lineshaft", "tags": "old"}],
        "exchanges": [{"vhost": "lineshaft", "name": "jobs", "type": "topic"}],
    }
    second = {
        "vhosts": [{"name": "lineshaft"}],
        "users": [{"name": "lineshaft", "tags": "new"}, {"name": "other"}],
    }
    merged = definitions.merge(first, second)
    assert merged["vhosts"] == [{"name": "lineshaft"}]
    assert merged["users"] == [{"name": "lineshaft", "tags": "new"}, {"name": "other"}]
    assert merged["exchanges"] == first["exchanges"]


def test_bindings_that_differ_in_their_key_are_both_kept() -> None:
    binding: dict[str, object] = {
        "vhost": "v",
        "source": "s",
        "destination": "d",
        "destination_type": "queue",
        "routing_key": "a",
        "arguments": {},
    }
    other = {**binding, "routing_key": "b"}
    merged = definitions.merge({"bindings": [binding, other]}, {"bindings": [binding]})
    assert merged["bindings"] == [binding, other]


def test_a_missing_topology_is_an_empty_one(tmp_path: Path) -> None:
    assert definitions.topology(tmp_path) == {}
